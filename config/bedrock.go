package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// SchemaBedrock is Amazon Bedrock's runtime. It has no key: Envoy signs each request
// with what AWS's default credential chain gives it.
const SchemaBedrock = "bedrock"

// Images says which remote images of requests are fetched for a provider that takes
// images only as bytes.
type Images struct {
	Hosts []string `json:"hosts" yaml:"hosts" jsonschema:"minItems=1,maxItems=64" jsonschema_description:"Names of hosts whose https images are fetched: images.example.com, or *.example.com for the names below it."`
}

// ImageHosts are the hosts whose images are fetched; empty if none are.
func (p *Provider) ImageHosts() []string {
	if p.Images == nil {
		return nil
	}
	return p.Images.Hosts
}

// Translated says that the provider has another form of the API, so that each of its
// attempts has its body, path and answer translated.
func (p *Provider) Translated() bool { return p.Schema == SchemaBedrock }

// Translated says the same of a target's provider.
func (t Target) Translated() bool { return t.translated }

// Picks says that requests of a usable route are asked, before they are routed, which
// of its targets can serve them: not everything that can be said in OpenAI's form can
// be said to every model behind another form, and an attempt that finds out by itself
// ends the request; and of others the configuration says what they cannot do. Where all targets can do the same, there is nothing to pick.
func Picks(route [][]Target, providers map[string]*Provider) bool {
	seen, translated := map[string]bool{}, false
	for _, target := range slices.Concat(route...) {
		if len(target.Without) > 0 || target.Context > 0 {
			return true
		}
		p := providers[target.Provider]
		if !p.Translated() {
			seen[""] = true
			continue
		}
		translated = true
		seen[strings.Join(slices.Concat([]string{target.Model}, p.Fields, []string{"/"}, p.ImageHosts()), "\n")] = true
	}
	return translated && len(seen) > 1
}

var (
	regionForm = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	// endpointForm is a name of the service, of a private endpoint too, with its region.
	endpointForm = regexp.MustCompile(`(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.`)
	imageForm    = regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	fieldForm    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// maxListed bounds the lists of a provider, which travel with every request to it.
const maxListed = 64

// bedrock judges what only Bedrock has, and fills in its endpoint.
func (v *validator) bedrock(at path, p *Provider) {
	if p.Schema != SchemaBedrock {
		for _, key := range []string{"region", "images", "fields"} {
			if at := at.key(key); v.given(at) && !v.broken(at) {
				v.problemf(at, "is for schema: %s", SchemaBedrock)
			}
		}
		return
	}
	for _, key := range []string{"key", "keys"} {
		if at := at.key(key); v.given(at) {
			v.problemf(at, "is not for schema: %s, whose requests are signed: AWS's default credential chain has the credentials", SchemaBedrock)
		}
	}
	if at := at.key("builtin"); v.given(at) {
		v.problemf(at, "is for schema: %s", SchemaOpenAI)
	}
	v.region(at, p)
	v.imageHosts(at.key("images").key("hosts"), p)
	v.fields(at.key("fields"), p.Fields)
	if !v.broken(at.key("url")) && strings.HasPrefix(p.URL, "http://") && !loopback(p.URL) {
		v.warnf(at.key("url"), "requests are sent over plain http: use an https url")
	}
}

// region settles where a provider is, by its region, its URL, or both.
func (v *validator) region(at path, p *Provider) {
	region, address := at.key("region"), at.key("url")
	if v.given(address) && !v.broken(address) {
		normal, err := normalURL(p.URL)
		switch {
		case err != nil:
			v.problemf(address, "%s", strings.Replace(err.Error(), "https://api.openai.com/v1", "https://bedrock-runtime.us-east-1.amazonaws.com", 1))
			return
		case p.URL != "" && basePath(normal) != "":
			v.problemf(address, "must have no path: Bedrock's begin at its host")
			return
		}
		p.URL = normal
		if found := endpointForm.FindStringSubmatch(p.Endpoint().Hostname()); found != nil && p.Region == "" {
			p.Region = found[1]
		}
	}
	switch {
	case v.broken(region) || v.broken(address):
	case p.Region == "":
		v.problemf(at, "needs a region, such as us-east-1")
	case !regionForm.MatchString(p.Region):
		v.problemf(region, "must be an AWS region, such as us-east-1")
	case p.URL == "":
		p.URL = "https://bedrock-runtime." + p.Region + "." + suffixOf(p.Region)
	}
}

// suffixOf is the domain of a region's partition.
func suffixOf(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

func basePath(address string) string { return (&Provider{URL: address}).BasePath() }

func (v *validator) imageHosts(at path, p *Provider) {
	if p.Images == nil || v.unread[at] {
		return
	}
	hosts := p.Images.Hosts
	if len(hosts) == 0 && v.given(at) || len(hosts) > maxListed {
		v.problemf(at, "has from 1 to %d hosts", maxListed)
	}
	for i, host := range hosts {
		at := at.at(i)
		hosts[i] = strings.ToLower(host)
		if v.broken(at) {
			continue
		}
		_, err := netip.ParseAddr(host)
		if err == nil || len(host) > 253 || !imageForm.MatchString(hosts[i]) {
			v.problemf(at, "must be the name of a host, such as images.example.com, or *.example.com")
		}
	}
}

func (v *validator) fields(at path, fields []string) {
	if len(fields) > maxListed {
		v.problemf(at, "has at most %d fields", maxListed)
	}
	for i, field := range fields {
		switch at := at.at(i); {
		case v.broken(at):
		case !fieldForm.MatchString(field):
			v.problemf(at, "must be the name of a field, such as top_k")
		case slices.Contains(fields[:i], field):
			v.problemf(at, "stands here twice")
		}
	}
}

// translatedTargets marks the targets whose provider has another form, and has each of
// them say the model it means: the client's name for it is none of theirs.
func (v *validator) translatedTargets(at path, route [][]Target) {
	for i, group := range route {
		for j := range group {
			target := &group[j]
			p := v.config.Providers[target.Provider]
			if p == nil || !p.Translated() {
				continue
			}
			target.translated = true
			if at := at.at(i).at(j); target.Model == "" && !v.broken(at.key("model")) && !v.given(at.key("model")) {
				v.problemf(at, "needs a model: the provider's id of it, such as us.anthropic.claude-haiku-4-5-20251001-v1:0")
			}
		}
	}
}

// mayPass says why a provider cannot take the endpoints that name no model; empty if
// it can.
func (p *Provider) mayPass() string {
	switch {
	case p.Translated():
		return "a provider of schema: " + p.Schema + " has no endpoints that name no model"
	case !p.PlainPaths():
		return "a provider with an api_version has no endpoints that name no model"
	}
	return ""
}
