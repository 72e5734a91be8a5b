package xds

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	signing "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/aws_request_signing/v3"
	credential "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	process "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	mutation "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	codec "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	generic "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	groups "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/priority_group/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

func TestLiteral(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "",
		"plain":            "plain",
		"50%":              "50%%",
		"%REQ(cookie)%":    "%%REQ(cookie)%%",
		"%%":               "%%%%",
		"Zürich 100 % süß": "Zürich 100 %% süß",
	} {
		assert.Equal(t, want, literal(text), text)
		assert.Equal(t, text, strings.ReplaceAll(literal(text), "%%", "%"), "as Envoy reads it again")
	}
}

func TestAuthorityAndPort(t *testing.T) {
	for text, want := range map[string]struct {
		authority string
		port      uint32
	}{
		"https://api.openai.com/v1":     {"api.openai.com", 443},
		"https://api.openai.com:443/v1": {"api.openai.com", 443},
		"https://api.openai.com:80":     {"api.openai.com:80", 80},
		"https://api.openai.com:8443":   {"api.openai.com:8443", 8443},
		"http://localhost":              {"localhost", 80},
		"http://localhost:80":           {"localhost", 80},
		"http://localhost:443":          {"localhost:443", 443},
		"http://localhost:8080/":        {"localhost:8080", 8080},
		"http://127.0.0.1:80":           {"127.0.0.1", 80},
		"http://[::1]":                  {"[::1]", 80},
		"http://[::1]:80":               {"[::1]", 80},
		"https://[2001:db8::443]:443":   {"[2001:db8::443]", 443},
		"https://[2001:db8::1]:8443":    {"[2001:db8::1]:8443", 8443},
		"HTTPS://api.openai.com:443":    {"api.openai.com", 443},
		"http://host:65535":             {"host:65535", 65535},
	} {
		u, err := url.Parse(text)
		require.NoError(t, err)
		assert.Equal(t, want.authority, authority(u), text)
		assert.Equal(t, want.port, port(u), text)
	}
}

func TestCustomHeadersAreThoseOfAllProviders(t *testing.T) {
	cfg := &config.Config{Providers: map[string]*config.Provider{
		"a": {Headers: map[string]string{"X-Zone": "1", "OpenAI-Beta": "x"}},
		"b": {Headers: map[string]string{"x-zone": "2", "X-Account": "3"}},
		"c": {},
	}}
	assert.Equal(t, []string{"openai-beta", "x-account", "x-zone"}, customHeaders(cfg))
	assert.Empty(t, customHeaders(&config.Config{}))
}

// manyProviders differ in all that a chain may depend on: a key, several or none,
// headers of their own, a name for the model, a path.
const manyProviders = `
providers:
  keyed: {schema: openai, url: "https://a.example/v1", key: "${A_KEY}"}
  keyless: {schema: openai, url: "https://b.example/v1"}
  account: {schema: openai, url: "https://c.example/v1", key: "${C_KEY}", headers: {OpenAI-Organization: org-1, X-Zone: "50%"}}
  beta: {schema: openai, url: "http://127.0.0.1:9/v1", headers: {x-zone: other, OpenAI-Beta: assistants=v2}}
  demo: {schema: openai, builtin: demo}
  several: {schema: openai, url: "https://d.example/v1", keys: [{key: "${D_KEY}"}, {key: "${E_KEY}", weight: 3}]}
  based: {schema: openai, url: "https://f.example/api/v1", key: "${F_KEY}"}
  azure: {schema: azure, url: "https://g.example", api_version: v9, key: "${G_KEY}"}
  newer: {schema: azure, url: "https://g.example/openai/v1", key: "${G_KEY}"}
  aws: {schema: bedrock, region: us-east-1, headers: {X-Zone: aws}}
models:
  forms: {route: [[{provider: aws, model: "a.b-v1:0"}], [{provider: keyed}, {provider: azure}], [{provider: keyless}, {provider: several}]]}
  paths: {route: [[{provider: several, model: x}, {provider: based}], [{provider: azure, model: dep}, {provider: newer}]]}
  one-name: {route: [[{provider: keyed, model: dep}], [{provider: azure, model: dep}]]}
  one-path: {route: [[{provider: several}, {provider: keyed}]]}
  based: {route: [[{provider: based}]]}
  azure: {route: [[{provider: azure}]]}
  "az/*": {route: [[{provider: azure, model: "*"}]]}
  m: {route: [[{provider: keyed, model: x}, {provider: keyless}], [{provider: account}, {provider: beta, model: y}, {provider: demo}]]}
  "p/*": {route: [[{provider: keyed, model: "*"}], [{provider: beta}]]}
`

// chain is what one provider's filters do to a request's headers.
type chain struct {
	name     string
	steps    []step
	prefixes []string // whole families that are removed
	secret   string   // of the credential
}

// step sets a header, or removes it.
type step struct {
	header, value string
	sets          bool
}

// chains are those of all the providers' clusters, read from the snapshot as Envoy
// would read them.
func chains(t *testing.T) []chain {
	t.Helper()
	_, snapshot := compiled(t, manyProviders)
	var all []chain
	for _, name := range names(snapshot.GetResources(resource.ClusterType)) {
		if !strings.HasPrefix(name, clusterProvider) {
			continue
		}
		c := snapshot.GetResources(resource.ClusterType)[name].(*cluster.Cluster)
		options := new(upstream.HttpProtocolOptions)
		require.NoError(t, c.GetTypedExtensionProtocolOptions()[protocolOptions].UnmarshalTo(options))
		ch := chain{name: name}
		for _, f := range options.GetHttpFilters() {
			m, err := f.GetTypedConfig().UnmarshalNew()
			require.NoError(t, err)
			ch.read(t, m)
		}
		all = append(all, ch)
	}
	var named []string
	for _, ch := range all {
		named = append(named, ch.name)
	}
	require.Equal(t, []string{
		"provider/account", "provider/aws@a.b-v1:0", "provider/azure", "provider/azure@", "provider/azure@*<az/*", "provider/azure@=dep", "provider/azure@dep",
		"provider/based", "provider/based@", "provider/beta", "provider/beta=y", "provider/demo",
		"provider/keyed", "provider/keyed=*<p/*", "provider/keyed=x", "provider/keyed@", "provider/keyless", "provider/keyless@",
		"provider/newer", "provider/newer@",
		"provider/several#0", "provider/several#0@", "provider/several#0@=x", "provider/several#1", "provider/several#1@", "provider/several#1@=x",
	}, named)
	return all
}

func (ch *chain) read(t *testing.T, filter any) {
	t.Helper()
	switch f := filter.(type) {
	case *credential.CredentialInjector:
		require.True(t, f.GetOverwrite(), "%s: another provider's key would stay", ch.name)
		injected := new(generic.Generic)
		require.NoError(t, f.GetCredential().GetTypedConfig().UnmarshalTo(injected))
		ch.steps = append(ch.steps, step{cmp.Or(injected.GetHeader(), "authorization"), "the key", true})
		ch.secret = injected.GetCredential().GetName()
	case *lua.Lua:
		ch.steps = append(ch.steps, step{":path", "its own", true})
	case *process.ExternalProcessor: // writes the name, and the length with it
		if f.GetStatPrefix() == wire.LaneBedrock {
			ch.steps = append(ch.steps, step{":path", "its own", true}, step{"content-type", "its own", true})
		}
		ch.steps = append(ch.steps, step{"content-length", "the new one", true})
	case *signing.AwsRequestSigning: // its own prefix is of a family that is removed
		ch.steps = append(ch.steps, step{"authorization", "the signature", true})
	case *codec.UpstreamCodec:
	case *mutation.HeaderMutation:
		for _, m := range f.GetMutations().GetRequestMutations() {
			switch {
			case m.GetRemove() != "":
				ch.steps = append(ch.steps, step{header: m.GetRemove()})
			case m.GetRemoveOnMatch() != nil:
				require.NotEmpty(t, m.GetRemoveOnMatch().GetKeyMatcher().GetPrefix())
				ch.prefixes = append(ch.prefixes, m.GetRemoveOnMatch().GetKeyMatcher().GetPrefix())
			case m.GetAppend() != nil:
				action := m.GetAppend().GetAppendAction()
				require.Contains(t, []core.HeaderValueOption_HeaderAppendAction{
					core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD, core.HeaderValueOption_OVERWRITE_IF_EXISTS,
				}, action, "%s adds a second value", ch.name)
				h := m.GetAppend().GetHeader()
				ch.steps = append(ch.steps, step{strings.ToLower(h.GetKey()), h.GetValue(), true})
			default:
				require.Fail(t, "a mutation of another kind", "%v", m)
			}
		}
	default:
		require.Fail(t, "a filter of another kind", "%T: say here which headers it changes", f)
	}
}

// last is what a chain does to a header in the end; nil if it leaves it alone.
func (ch *chain) last(header string) *step {
	for _, s := range slices.Backward(ch.steps) {
		if s.header == header {
			return &s
		}
	}
	for _, family := range ch.prefixes {
		if strings.HasPrefix(header, family) {
			return &step{header: header}
		}
	}
	return nil
}

// An attempt inherits the headers of the attempt before it, so what one provider's
// chain sets must be removed or set again by every other's.
func TestNoProviderSeesWhatAnotherWasSent(t *testing.T) {
	all := chains(t)
	for _, one := range all {
		for _, s := range one.steps {
			if !s.sets || s.header == ":path" { // TestAllAttemptsOfARouteWriteThePathOrNone
				continue
			}
			for _, other := range all {
				require.NotNil(t, other.last(s.header), "%s sets %s, which %s passes on", one.name, s.header, other.name)
			}
		}
	}
}

// The path of an attempt is what the route wrote, or what the attempt wrote: were both on
// one route, an attempt would meet the path of the one before it.
func TestAllAttemptsOfARouteWriteThePathOrNone(t *testing.T) {
	writes := map[string]bool{}
	for _, ch := range chains(t) {
		writes[ch.name] = ch.last(":path") != nil
	}
	_, snapshot := compiled(t, manyProviders)
	table := snapshot.GetResources(resource.RouteType)[routeTable].(*route.RouteConfiguration)
	seen := map[string]bool{}
	for _, r := range table.GetVirtualHosts()[0].GetRoutes() {
		specifier := r.GetRoute().GetInlineClusterSpecifierPlugin()
		if specifier == nil {
			continue
		}
		attempts := new(groups.PriorityGroupClusterSpecifier)
		require.NoError(t, specifier.GetExtension().GetTypedConfig().UnmarshalTo(attempts))
		first, all := writes[plainName(attempts.GetPriorityGroups()[0].GetClusters()[0].GetClusterName())], 0
		for _, group := range attempts.GetPriorityGroups() {
			for _, c := range group.GetClusters() {
				name := plainName(c.GetClusterName())
				require.Contains(t, writes, name)
				assert.Equal(t, first, writes[name], "%s: %s", r.GetName(), name)
				all++
			}
		}
		require.Positive(t, all)
		if first {
			assert.Nil(t, r.GetRoute().GetRegexRewrite(), r.GetName())
			assert.Contains(t, r.GetTypedPerFilterConfig(), filterForm, "%s notes nothing", r.GetName())
		}
		seen[r.GetName()] = first
	}
	assert.Equal(t, map[string]bool{
		"model/paths": true, "model/one-name": true, "model/azure": true, "model/az/*": true, "model/forms": true,
		"model/one-path": false, "model/based": false, "model/m": false, "model/p/*": false,
	}, seen)
}

// plainName is the cluster that a guarded one stands beside.
func plainName(name string) string {
	return clusterProvider + strings.TrimPrefix(strings.TrimPrefix(name, clusterGuarded), clusterProvider)
}

func TestLuaTextCannotEnd(t *testing.T) {
	for text, want := range map[string]string{
		"":          `""`,
		"/v1/x.-_":  `"/v1/x.-_"`,
		`"..]]`:     `"\034..\093\093"`,
		"\\\n\x00é": `"\092\010\000\195\169"`,
	} {
		assert.Equal(t, want, luaText(text))
	}
}

func TestEachProviderIsSentItsOwn(t *testing.T) {
	for _, ch := range chains(t) {
		account, _, _ := strings.Cut(strings.TrimPrefix(ch.name, clusterProvider), "=")
		account, _, _ = strings.Cut(account, "@")
		provider, _, _ := strings.Cut(account, "#")
		azure := provider == "azure" || provider == "newer"
		keyless := provider == "keyless" || provider == "beta" || provider == "demo"
		assert.Equal(t, !keyless && !azure, ch.last("authorization").sets, "%s: authorization", ch.name)
		assert.Equal(t, azure, ch.last("api-key").sets, "%s: api-key", ch.name)
		if provider == "aws" {
			assert.Equal(t, "the signature", ch.last("authorization").value)
			assert.Empty(t, ch.secret)
		} else if !keyless {
			assert.True(t, strings.HasPrefix(ch.secret, credentialPrefix+account+"@"), "%s: %s", ch.name, ch.secret)
		}
		want := map[string]map[string]string{
			"account": {"openai-organization": "org-1", "x-zone": "50%%"},
			"beta":    {"x-zone": "other", "openai-beta": "assistants=v2"},
			"aws":     {"x-zone": "aws"},
		}[provider]
		for _, header := range []string{"openai-organization", "x-zone", "openai-beta"} {
			got := ch.last(header)
			require.NotNil(t, got, "%s: %s", ch.name, header)
			assert.Equal(t, want[header], got.value, "%s: %s", ch.name, header)
			assert.Equal(t, want[header] != "", got.sets, "%s: %s", ch.name, header)
		}
	}
}

func TestNothingOfTheClientsAccountIsForwarded(t *testing.T) {
	for _, ch := range chains(t) {
		for _, header := range []string{
			"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key", "Api-Key", "Forwarded", "Via",
			"X-Forwarded-For", "X-Forwarded-Proto", "X-Envoy-Original-Path", "X-Postern-Tenant", "X-Postern-Model",
		} {
			header = strings.ToLower(http.CanonicalHeaderKey(header))
			got := ch.last(header)
			require.NotNil(t, got, "%s passes %s on", ch.name, header)
			if got.sets {
				assert.Contains(t, []string{"the key", "the signature"}, got.value, "%s: %s", ch.name, header)
			}
		}
	}
}

// A provider's old cluster serves until its new one is ready, and both find their secrets
// by name: a name that two hosts share would carry the key of one to the other.
func TestAKeyGoesToNoOtherHost(t *testing.T) {
	nameOf := func(provider string) (name, value string) {
		_, snapshot := compiled(t, "providers:\n  one: "+provider+"\nmodels: {m: {route: [[{provider: one}]]}}\n")
		for name, r := range snapshot.GetResources(resource.SecretType) {
			return name, r.(*tls.Secret).GetGenericSecret().GetSecret().GetInlineString()
		}
		return "", ""
	}
	const first = `{schema: openai, url: "https://one.example/v1", key: "${ONE}"}`
	was, value := nameOf(first)
	assert.Equal(t, "Bearer sk-test", value)
	for moved, provider := range map[string]string{
		"another host":   `{schema: openai, url: "https://two.example/v1", key: "${ONE}"}`,
		"another port":   `{schema: openai, url: "https://one.example:8443/v1", key: "${ONE}"}`,
		"another scheme": `{schema: openai, url: "http://one.example/v1", key: "${ONE}"}`,
		"another key":    `{schema: openai, url: "https://one.example/v1", key: "${TWO}"}`,
		"another header": `{schema: azure, url: "https://one.example/openai/v1", key: "${ONE}"}`,
	} {
		name, _ := nameOf(provider)
		assert.NotEqual(t, was, name, moved)
	}
	for same, provider := range map[string]string{
		"another path":        `{schema: openai, url: "https://one.example/v2", key: "${ONE}"}`,
		"the port spelt out":  `{schema: openai, url: "https://one.example:443/v1", key: "${ONE}"}`,
		"the host in capital": `{schema: openai, url: "https://ONE.example/v1", key: "${ONE}"}`,
	} {
		name, _ := nameOf(provider)
		assert.Equal(t, was, name, same)
	}
	assert.NotContains(t, was, "ONE", "the reference is nobody's business")
}
