package parameters_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy/envoytest"
)

// hosted is a document that needs files and variables of the host it runs on.
const hosted = `
listen: {address: "127.0.0.1:18080", tls: {certificate: "file:/etc/postern/none/cert.pem", key: "file:none/key.pem"}}
providers:
  demo: {schema: openai, builtin: demo}
  cloud: {schema: openai, url: "https://x.example/v1", key: "${CLOUD_KEY}", ca: "file:/etc/postern/none/ca.pem"}
  home: {schema: openai, url: "https://${CLOUD_HOST}/v1", key: "${CLOUD_KEY}"}
models:
  m: {route: [[{provider: demo, weight: 90}, {provider: cloud, weight: 10}], [{provider: home}]]}
`

// An operator changes traffic from any machine: what only the gate's own host has is a
// warning. What is wrong with the document is not.
func TestAnOperatorIsNotTheGate(t *testing.T) {
	o := newOffice(t)
	file := o.file("postern.yaml", hosted)
	r := o.good("config", "push", file)
	for _, text := range []string{
		"listen.tls.certificate: TLS needs it, and the file file:/etc/postern/none/cert.pem does not exist (on this machine",
		"listen.tls.key: is a relative path", "providers.cloud.ca: the file", "providers.home.url: CLOUD_HOST is not set",
		"providers.cloud.key: the provider is left out by a gate where CLOUD_KEY is not set",
		"Envoy did not check it, because variables of it are not set here",
	} {
		assert.Contains(t, r.err, text)
	}
	r = o.good("traffic", "set", "m", "demo=50", "cloud=50")
	assert.Contains(t, r.err, "listen.tls.certificate: TLS needs it")
	assert.NotContains(t, r.err, "CLOUD_KEY")
	o.good("traffic", "order", "m", "2", "1")
	assert.Contains(t, o.good("traffic", "show", "m").out, "cloud")
	assert.Contains(t, o.good("config", "rollback").err, "providers.cloud.ca")
	o.good("config", "rollback", "3")
	assert.Contains(t, o.good("config", "validate").out, "is valid")
	o.good("config", "diff", file)
	assert.Contains(t, o.bad("config", "push", o.file("bad.yaml", hosted+"default_provider: nobody\n")).err, "there is no provider")
	assert.Zero(t, o.postern("traffic", "set", "m", "demo=1", "cloud=1").code, "in a copy of the gate's file too")
	// The file of the gate's own host is judged as ever.
	assert.Equal(t, 1, o.postern("validate", file).code)

	o.more = []string{"CLOUD_HOST=x.example"}
	assert.Contains(t, o.good("config", "validate").out, "Envoy accepts it")
}

// Paths in a set are the gate's: the folder of the file that was pushed is not there.
func TestPathsOfASetAreTheGates(t *testing.T) {
	o := newOffice(t)
	require.NoError(t, os.Mkdir(filepath.Join(o.folder, "sub"), 0o700))
	o.file("sub/key", "sk-secret")
	file := o.file("sub/postern.yaml", strings.Replace(plain, "${CLOUD_KEY}", "file:key", 1))
	r := o.good("config", "push", file)
	assert.Contains(t, r.err, "providers.cloud.key: is a relative path")
	assert.Contains(t, r.err, "left out by a gate where the file file:key does not exist")
}

// Envoy's own word counts for each view, for providers without their secrets, and for
// each command that puts a set in force; a rollback only tells of it.
func TestEnvoyJudgesWhatIsPutInForce(t *testing.T) {
	o := newOffice(t)
	o.good("config", "push", o.file("postern.yaml", plain))
	views := plain + "views:\n  edge: {listen: {address: \"127.0.0.1:18099\"}}\n"
	o.good("config", "push", o.file("views.yaml", views))
	o.envoyWithout("18099")
	assert.Contains(t, o.bad("config", "push", o.file("again.yaml", views+"tiers: {default: {requests: 5/s}}\n")).err, "the view edge: Envoy refuses the configuration")
	assert.Contains(t, o.bad("traffic", "set", "m", "demo=50", "cloud=50").err, "the view edge: Envoy refuses the configuration")
	o.good("config", "rollback")
	assert.Contains(t, o.good("config", "rollback", "2").err, "warning: the Envoy of this machine does not take set 000002-")
	o.envoyWithout("x.example") // a provider whose key is not here
	assert.Contains(t, o.bad("traffic", "set", "m", "demo=50", "cloud=50").err, "Envoy refuses the configuration")
	o.more = []string{"ENVOY=/nowhere/envoy"}
	assert.Contains(t, o.good("traffic", "set", "m", "demo=50", "cloud=50").err, "warning: ENVOY=/nowhere/envoy")
}

// envoyWithout gives the office an Envoy that refuses a text in its configuration.
func (o *office) envoyWithout(text string) {
	o.t.Helper()
	if o.picky == nil {
		o.picky = envoytest.NewPicky(o.t)
		o.more = []string{"ENVOY=" + o.picky.Path}
	}
	o.picky.Refuse(o.t, text)
}
