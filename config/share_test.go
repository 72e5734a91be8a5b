package config

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Another process of the gate judges requests as the gate itself does, and knows no secret.
func TestASharedVersionIsTheSame(t *testing.T) {
	text, err := os.ReadFile("testdata/full.yaml")
	require.NoError(t, err)
	const secret = "the-secret-value"
	const more = `
models:
  both: {route: [[{provider: a, model: x}], [{provider: b, model: "amazon.nova-lite-v1:0", weight: 3}], [{provider: gone}]], system: "Say ${NAME} $$", validate: strict, usage: exact}
  "nova/*": {route: [[{provider: b, model: "*"}]]}
  named: {route: [[{provider: a, model: other}]], timeouts: {total: 90s}}
providers:
  a: {schema: openai, url: "https://api.example.com/v1", key: "${KEY}", headers: {x-one: "${NAME}"}}
  b: {schema: bedrock, region: us-east-1, fields: [top_k], images: {hosts: [images.example.com]}}
  gone: {schema: openai, url: "https://gone.example.com/v1", key: "${NOTHING}"}
extproc: {memory: 300MiB}
prices: {a/x: {input: 1, output: 2}}
`
	cert, key := certificate(t)
	env := world(
		map[string]string{"TLS_KEY": key, "KEY": secret, "NAME": "${KEY}"},
		map[string]string{"tls.crt": cert, "ca.pem": cert, "one.key": secret},
	)
	for name, document := range map[string]string{"full": string(text), "more": more} {
		t.Run(name, func(t *testing.T) {
			c := parse(t, document, env)
			sent, err := c.Share()
			require.NoError(t, err)
			assert.NotContains(t, string(sent), secret)
			got, err := Shared(sent)
			require.NoError(t, err)
			assert.Equal(t, c.Version, got.Version)
			assert.Equal(t, c.Extproc, got.Extproc)
			assert.Equal(t, c.Prices, got.Prices)
			require.Len(t, got.Models, len(c.Models))
			for name, m := range c.Models {
				its := got.Models[name]
				route := m.UsableRoute(c.Providers)
				assert.Equal(t, route, its.UsableRoute(got.Providers), name)
				assert.Equal(t, m.Understood(name, c.Providers), its.Understood(name, got.Providers), name)
				assert.Equal(t, Picks(route, c.Providers), Picks(its.Route, got.Providers), name)
				one, two := *m, *its
				one.Route, two.Route = nil, nil
				assert.Equal(t, one, two, name)
			}
		})
	}
	for _, wrong := range []string{"", "{}", "[]", `{"version":"1","config":null}`, `{"config":{"models":7}}`} {
		_, err := Shared([]byte(wrong))
		assert.Error(t, err, wrong)
	}
}
