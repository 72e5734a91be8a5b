package config

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const distant = `
listen:
  address: "${ADDRESS}"
  tls: {certificate: "file:/etc/postern/cert.pem", key: "${TLS_KEY}"}
providers:
  a: {schema: openai, url: "https://${HOST}/v1", key: "${A_KEY}", ca: "file:ca.pem"}
  b: {schema: azure, url: "${AZURE}", key: "ssm:b"}
  demo: {schema: openai, builtin: demo}
models:
  m: {route: [[{provider: a}, {provider: b, model: "${NAME}"}], [{provider: demo}]]}
  n: {route: [[{provider: demo}]]}
`

// What a document needs of the machine it runs on is no mistake of the document: who
// judges it for other machines is told, and it is not refused.
func TestADocumentForOtherMachines(t *testing.T) {
	env := world(nil, nil)
	env.Parameter = func(string) (string, error) { return "", fs.ErrNotExist }
	var here []string
	for _, p := range refused(t, distant, env) {
		here = append(here, p.Path)
	}
	paths := []string{
		"listen.address", "listen.tls.certificate", "listen.tls.key", "providers.a.url", "providers.a.ca",
		"providers.b.url", "models.m.route[0][1].model",
	}
	assert.Subset(t, here, paths)

	env.Elsewhere = true
	c := parse(t, distant, env)
	warned := map[string][]string{}
	for _, w := range c.Warnings() {
		warned[w.Path] = append(warned[w.Path], w.Message)
		assert.Positive(t, w.Line)
	}
	for _, path := range paths {
		require.NotEmpty(t, warned[path], path)
	}
	assert.Contains(t, warned["providers.a.ca"][0], "relative path")
	assert.Contains(t, warned["providers.a.ca"][1], "does not exist (on this machine")
	_, whole := c.Rehearsal()
	assert.False(t, whole, "nobody can compile an unknown address")

	// What is wrong with the document itself is refused as everywhere, even next to
	// what is unknown.
	for _, wrong := range []string{
		distant + "default_provider: nobody\n",
		distant + "  o: {route: [[{provider: demo, weight: 0}]]}\n",
		distant + "tiers: {x: {requests: often}}\n",
		strings.Replace(distant, "schema: azure,", "schema: azure, colour: red,", 1),
	} {
		problems := refused(t, wrong, env)
		assert.Len(t, problems, 1, problems.Error())
	}
	// So is what Parameter Store has, or has not: that is the same everywhere.
	broken := env
	broken.Parameter = func(string) (string, error) { return "", errors.New("/x/b: cannot be decrypted") }
	require.ErrorContains(t, refused(t, distant, broken), "providers.b.key: /x/b: cannot be decrypted")
	require.ErrorContains(t, refused(t, document("", "", `listen: {tls: {certificate: "ssm:c", key: "ssm:k"}}`), env), "TLS needs it, and there is no parameter ssm:c")
	nonsense := world(nil, nil)
	nonsense.Parameter = func(string) (string, error) { return "nonsense", nil }
	nonsense.Elsewhere = true
	require.ErrorContains(t, refused(t, document("", "", `listen: {tls: {certificate: "ssm:c", key: "ssm:k"}}`), nonsense), "belong together")
}

// A certificate of this machine under the path of another's says nothing of the other.
func TestFilesOfOtherMachinesAreNotJudged(t *testing.T) {
	env := world(nil, map[string]string{"/c": "nonsense"})
	env.Elsewhere = true
	text := document(`url: "https://x.example/v1", ca: "file:/c", key: "${KEY}"`, "", `listen: {tls: {certificate: "file:/c", key: "file:/c"}}`)
	c := parse(t, text, env)
	assert.Len(t, c.Warnings(), 3, c.Warnings())
	all, whole := c.Rehearsal()
	assert.True(t, whole)
	assert.Nil(t, all.Listen.TLS)
	assert.True(t, all.Providers["p"].Usable())
	assert.False(t, c.Providers["p"].Usable(), "the configuration itself stays as it is")
}

// A listener's certificate may lie where it is not looked for here.
func TestTLSInParameterStoreThatIsNotAsked(t *testing.T) {
	c := parse(t, document("", "", `listen: {tls: {certificate: "ssm:c", key: "ssm:k"}}`), Env{})
	require.Len(t, c.Warnings(), 2)
	assert.Contains(t, c.Warnings()[0].Message, "is not judged, because ssm:c needs AWS Parameter Store, which is not asked here")
}
