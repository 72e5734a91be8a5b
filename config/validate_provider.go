package config

import (
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

func (v *validator) providers() {
	if at := path("providers"); len(v.config.Providers) == 0 && !v.broken(at) {
		v.problemf(at, "needs at least one provider")
	}
	for _, name := range slices.Sorted(maps.Keys(v.config.Providers)) {
		at := path("providers").key(name)
		if v.unread[at] {
			continue // not a mapping: nothing in it was read
		}
		v.name(at, name)
		v.provider(at, v.config.Providers[name])
	}
}

func (v *validator) provider(at path, p *Provider) {
	v.where(at, p)
	v.headers(at.key("headers"), p.Headers)
	v.credentials(at, p)
	v.azure(at, p)
	v.bedrock(at, p)
	if at := at.key("connect_timeout"); v.given(at) {
		v.timeout(at, p.Connect)
	}
	if at := at.key("ca"); v.given(at) && !v.broken(at) {
		v.authorities(at, p)
	}
}

// where checks the URL or the builtin, of which there must be one.
func (v *validator) where(at path, p *Provider) {
	if p.Translated() {
		return // see bedrock
	}
	hasURL, hasBuiltin := v.given(at.key("url")), v.given(at.key("builtin"))
	switch {
	case v.broken(at.key("schema")): // another schema may need another place
	case hasURL && hasBuiltin:
		v.problemf(at, "has both url and builtin: it can have one of them")
	case !hasURL && !hasBuiltin:
		v.problemf(at, "needs a url, or builtin: demo")
	}
	if at := at.key("url"); hasURL && !v.broken(at) {
		normal, err := normalURL(p.URL)
		if err != nil {
			v.problemf(at, "%s", err)
			return
		}
		p.URL = normal
	}
	for _, key := range []string{"key", "keys", "ca"} {
		if hasBuiltin && !hasURL && v.given(at.key(key)) {
			v.problemf(at.key(key), "a builtin provider takes none")
		}
	}
}

var (
	hostForm = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)
	pathForm = regexp.MustCompile(`^(/[A-Za-z0-9_~!$&'()*+,;=:@.-]+)*$`)
	dotsForm = regexp.MustCompile(`/\.{1,2}(/|$)`)
)

// normalURL is a base URL in the one form that everything else can rely on: lower
// case scheme and host, and no slash at the end. Its errors never show the URL,
// which may have a password in it.
func normalURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("must be a whole http or https URL, such as https://api.openai.com/v1")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	u.Path = strings.TrimRight(u.Path, "/")
	switch {
	case u.User != nil:
		return "", errors.New("must not have a user or password in it: use key")
	case strings.ContainsAny(text, "?#"):
		return "", errors.New("must not have a query (?) or a fragment (#)")
	case !goodHost(host):
		return "", errors.New("must have a host name or an IP address")
	case !goodPort(u):
		return "", errors.New("must have a port from 1 to 65535, or none")
	case !plainPath(u):
		return "", errors.New("must have a plain path: no //, no . or .. parts, no % and no spaces")
	}
	u.Host = host
	if strings.Contains(host, ":") {
		u.Host = "[" + host + "]"
	}
	if port != "" {
		u.Host = net.JoinHostPort(host, port)
	}
	return u.Scheme + "://" + u.Host + u.Path, nil
}

func goodHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == ""
	}
	return len(host) <= 253 && hostForm.MatchString(host)
}

// goodPort says that a URL has a port from 1 to 65535, or none and no colon either.
func goodPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

// plainPath says that a path means the same to everyone who reads it.
func plainPath(u *url.URL) bool {
	return u.RawPath == "" && pathForm.MatchString(u.Path) && !dotsForm.MatchString(u.Path)
}

// credentials judges the provider's key, or its keys.
func (v *validator) credentials(at path, p *Provider) {
	one, several := at.key("key"), at.key("keys")
	if v.given(one) && v.given(several) {
		v.problemf(at, "has both key and keys: it can have one of them")
	}
	if !v.broken(one) {
		v.key(one, p.Key, p.URL, "the provider")
	}
	if v.given(several) && !v.unread[several] {
		v.keys(several, p)
	}
}

func (v *validator) keys(at path, p *Provider) {
	if len(p.Keys) == 0 || len(p.Keys) > maxKeys {
		v.problemf(at, "has from 1 to %d keys", maxKeys)
	}
	seen := map[string]bool{}
	for i, key := range p.Keys {
		at, ref := at.at(i), key.Key.Ref()
		if at := at.key("weight"); v.given(at) && !v.broken(at) && (*key.Weight < 1 || *key.Weight > maxKeyWeight) {
			v.problemf(at, "must be from 1 to %d", maxKeyWeight)
		}
		if at := at.key("key"); !v.broken(at) {
			if ref != "" && seen[ref] {
				v.problemf(at, "stands in this list already")
			}
			seen[ref] = true
			v.key(at, key.Key, p.URL, "the key")
		}
	}
	if !v.broken(at) && len(p.Keys) > 0 && len(p.Credentials()) == 0 {
		v.leftOut(at, "the provider", p.Keys[0].Key, "none of its keys has a value")
	}
}

// The bounds of keys: each is a cluster of its own.
const (
	maxKeys      = 16
	maxKeyWeight = 1000
)

// key checks that a credential can travel in a header, and says what is left out when
// there is none.
func (v *validator) key(at path, key Secret, address, leftOut string) {
	value := key.Reveal()
	if key.here() {
		v.excuse(at)
	}
	notVisible := func(r rune) bool { return r < ' ' || r > '~' }
	switch {
	case strings.ContainsAny(value, "\r\n\x00"):
		v.problemf(at, "the secret has a line break or a NUL in it: a key is one line")
	case strings.ContainsFunc(value, notVisible):
		v.problemf(at, "the secret has a character in it that cannot be sent in a header")
	case key.Missing():
		v.leftOut(at, leftOut, key, v.whyMissing(at, key))
	case value != "" && strings.HasPrefix(address, "http://") && !loopback(address):
		v.warnf(at, "the key is sent over plain http: use an https url")
	}
}

func loopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback() || u.Hostname() == "localhost"
}

// leftOut warns of what goes without a secret. What this machine has says nothing of
// others.
func (v *validator) leftOut(at path, what string, secret Secret, why string) {
	if v.env.Elsewhere && secret.here() {
		v.warnf(at, "%s is left out by a gate where %s", what, why)
		return
	}
	v.warnf(at, "%s is left out, because %s", what, why)
}

// authorities reads the file of ca, here and not later, so that a wrong one is a
// mistake of the document and the rest of the gate reads no files.
func (v *validator) authorities(at path, p *Provider) {
	// As written, so that a message shows the reference and not what it became.
	ref := v.marks[string(at)].text
	if !strings.HasPrefix(ref, filePrefix) || p.CA == filePrefix {
		v.problemf(at, "must be file:PATH")
		return
	}
	if strings.HasPrefix(p.URL, "http://") {
		v.problemf(at, "is for an https url")
		return
	}
	content, unreadable := v.file(at, ref)
	switch {
	case v.broken(at):
	case unreadable != "":
		v.problemf(at, "%s", unreadable)
		v.excuse(at)
	case !x509.NewCertPool().AppendCertsFromPEM([]byte(content)):
		v.problemf(at, "the file has no PEM certificate in it")
		v.excuse(at)
	}
	p.authorities = content
}

func (v *validator) headers(at path, headers map[string]string) {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at, lower, value := at.key(name), strings.ToLower(name), headers[name]
		switch other, twice := seen[lower]; {
		case v.broken(at):
		case !httpguts.ValidHeaderFieldName(name):
			v.problemf(at, "is not a header's name")
		case notForOthers(lower) != "":
			v.problemf(at, "%s", notForOthers(lower))
		case twice:
			v.problemf(at, "is the same header as %s", other)
		case value == "":
			v.problemf(at, "is empty")
		case !httpguts.ValidHeaderFieldValue(value) || strings.TrimSpace(value) != value:
			v.problemf(at, "has a value that cannot be sent in a header")
		}
		seen[lower] = name
	}
}
