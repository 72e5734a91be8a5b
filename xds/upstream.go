package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	rules "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	credential "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	mutation "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	codec "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	generic "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

// private are request headers that are nobody's business at a provider: the
// client's own credentials for other places, and whose account is billed. The
// header authorization is among them, because an attempt inherits what the
// attempt before it wrote, the other provider's credential too.
var private = []string{
	"authorization", "api-key", "x-api-key", "x-goog-api-key", "proxy-authorization", "cookie",
	"openai-organization", "openai-project", "forwarded", "via",
}

// privatePrefixes are whole families of such headers: ours, Envoy's, those that say
// where the client sits, and those of a signature that an attempt before was given.
var privatePrefixes = []string{wire.HeaderPrefix, "x-envoy-", "x-forwarded-", "x-amz-", "x-amzn-"}

// upstreamFilters is what each attempt at a provider runs. Everything that one
// provider's chain sets is removed or set again by every other's.
func upstreamFilters(in Input, v variant, chains common) []*hcm.HttpFilter {
	p := in.Config.Providers[v.provider]
	if p.Translated() {
		return bedrockFilters(in, v, chains)
	}
	answers := append(responseMutations(v.provider), saysModel(v)...)
	answers = append(answers, set(headerFraming, framing))
	all := []*hcm.HttpFilter{
		filter("postern.private", &mutation.HeaderMutation{Mutations: &mutation.Mutations{
			RequestMutations:  requestMutations(p, chains),
			ResponseMutations: answers,
		}}),
	}
	if v.path {
		all = append(all, filter("postern.path", pathFilter(p, v)))
	}
	if v.to != "" {
		all = append(all, filter("postern.rename", processFilter(wire.LaneRename,
			&core.HeaderValue{Key: wire.MetaPattern, Value: literal(v.pattern)},
			&core.HeaderValue{Key: wire.MetaName, Value: literal(v.to)})))
	}
	if p.Key.Reveal() != "" || v.key != "" {
		all = append(all, filter("postern.credential", &credential.CredentialInjector{
			Overwrite: true,
			Credential: extension("envoy.http.injected_credentials.generic", &generic.Generic{
				Credential: in.secret(credentialName(v.provider, p, v.key)),
				Header:     credentialHeader(p),
			}),
		}))
	}
	return append(all, filter("envoy.filters.http.upstream_codec", &codec.UpstreamCodec{}))
}

// account is a provider's name, with which of its keys it is where it has several.
func account(provider, key string) string {
	if key == "" {
		return provider
	}
	return provider + "#" + key
}

// credentialName is the secret that holds an account's key. It is one of where the key is
// sent to and of which key it is: a provider that moves and gets another key has another
// secret, so that neither does its old cluster, which serves until the new one is ready,
// send the new key to the old host, nor the new one the old key. A new value of the same
// key at the same place has the same name, and comes without a new cluster.
func credentialName(provider string, p *config.Provider, key string) string {
	h := sha256.New()
	if u := p.Endpoint(); u != nil {
		_, _ = fmt.Fprintf(h, "%s %s %d", u.Scheme, strings.ToLower(u.Hostname()), port(u))
	}
	for _, c := range p.Credentials() {
		if c.Place == key {
			_, _ = fmt.Fprintf(h, " %s %s", credentialHeader(p), c.Secret.Ref())
		}
	}
	return credentialPrefix + account(provider, key) + "@" + hex.EncodeToString(h.Sum(nil)[:4])
}

const credentialPrefix = "credential/" //nolint:gosec // of names

// credentialHeader is where a provider looks for its key; empty is authorization.
func credentialHeader(p *config.Provider) string {
	if p.Schema == config.SchemaAzure {
		return "api-key"
	}
	return ""
}

// credentialValue is what stands there.
func credentialValue(p *config.Provider, key config.Secret) string {
	if p.Schema == config.SchemaAzure {
		return key.Reveal()
	}
	return "Bearer " + key.Reveal()
}

func requestMutations(p *config.Provider, chains common) []*rules.HeaderMutation {
	var all []*rules.HeaderMutation
	for _, family := range privatePrefixes {
		all = append(all, removeMatching(prefix(family)))
	}
	for _, header := range private {
		all = append(all, remove(header))
	}
	for _, header := range chains.headers {
		if !slices.Contains(private, header) {
			all = append(all, remove(header))
		}
	}
	if chains.differing {
		all = append(all, restoreForm()...)
	}
	if chains.translated {
		all = append(all, restoreAccept()...)
	}
	for _, header := range names(p.Headers) {
		all = append(all, set(header, literal(p.Headers[header])))
	}
	return all
}

// responseMutations say who answered and keep the provider's account to
// ourselves: its limits are not the client's, nor are its cookies.
func responseMutations(name string) []*rules.HeaderMutation {
	return []*rules.HeaderMutation{
		removeMatching(prefix(wire.HeaderPrefix)),
		removeMatching(prefix("x-envoy-")),
		set("x-postern-provider", literal(name)),
		set("x-postern-provider-request-id", "%RESP(x-request-id)%"),
		set(headerWait, "%RESP(:status)% %RESP(retry-after)%"),
		remove("x-request-id"),
		removeMatching(prefix("x-ratelimit-")),
		remove("openai-organization"),
		remove("openai-project"),
		remove("set-cookie"),
	}
}

// common is what the chains of all providers have of the whole configuration. It is found
// once: to ask for each cluster would take a time that grows with their square.
type common struct {
	headers    []string // that any provider is configured to get
	differing  bool     // a route changes bodies once an attempt
	translated bool     // a provider has another form
}

func commonOf(cfg *config.Config) common {
	return common{headers: customHeaders(cfg), differing: differing(cfg), translated: anyTranslated(cfg)}
}

// customHeaders are the names of all headers that any provider is configured
// with, in lower case and in order.
func customHeaders(cfg *config.Config) []string {
	var all []string
	for _, p := range cfg.Providers {
		for name := range p.Headers {
			all = append(all, strings.ToLower(name))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
