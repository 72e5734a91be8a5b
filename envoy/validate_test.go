package envoy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
)

func TestValidateGivesEnvoysReasonAlone(t *testing.T) {
	binary := envoytest.Binary(t)
	good := string(bootstrap(t, "/tmp/never-bound.sock", "127.0.0.1:0", "127.0.0.1:1"))
	require.NoError(t, envoy.Validate(t.Context(), binary, []byte(good)))

	const secret = "sk-not-for-eyes"
	for name, test := range map[string]struct{ old, new, want string }{
		"an unknown cluster":   {`"cluster":"upstream"`, `"cluster":"nowhere"`, "route: unknown cluster 'nowhere'"},
		"an unknown field":     {`"type":"STATIC"`, `"typo":"STATIC"`, "static_resources.clusters[0]: message envoy.config.cluster.v3.Cluster, near 1:"},
		"an unknown extension": {"router.v3.Router", "router.v3.Rooter", "could not find @type 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Rooter'"},
		"a bad value":          {`"port_value":0`, `"port_value":70000`, "PortValue: value must be less than or equal to 65535"},
		"a bad nested value":   {`"stat_prefix":"door"`, `"stat_prefix":""`, "StatPrefix: value length must be at least 1 characters"},
		"not JSON":             {`{"admin"`, `{{"admin"`, "invalid JSON in envoy.config.bootstrap.v3.Bootstrap"},
		"nothing":              {good, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, good, test.old)
			bad := strings.Replace(good, test.old, test.new, 1)
			bad = strings.Replace(bad, "hello", secret, 1)
			err := envoy.Validate(t.Context(), binary, []byte(bad))
			var refused *envoy.RefusedError
			require.ErrorAs(t, err, &refused)
			assert.Contains(t, refused.Reason, test.want)
			assert.NotEmpty(t, refused.Reason)
			assert.Less(t, len(refused.Reason), 300)
			for _, noise := range []string{secret, "\n", "postern-validate", "goo.gle"} {
				assert.NotContains(t, err.Error(), noise)
			}
		})
	}
}

func TestValidateThatCannotBeMadeIsNoRefusal(t *testing.T) {
	err := envoy.Validate(t.Context(), "/missing/envoy", []byte("{}"))
	require.ErrorContains(t, err, "the check by Envoy could not be started")
	var refused *envoy.RefusedError
	require.NotErrorAs(t, err, &refused)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = envoy.Validate(ctx, envoytest.Binary(t), []byte("{}"))
	require.ErrorIs(t, err, context.Canceled)
}

func TestReasonsAreFoundInWhatEnvoyPrints(t *testing.T) {
	for printed, want := range map[string]string{
		"": "",
		"2026-01-02T03:04:05.678+0000 error config: first\n2026-01-02T03:04:05.678+0000 critical main: second\nbye\n": "second",
		"2026-01-02T03:04:05.678+0000 error config: only\nbye\n":                                                      "only",
		"terminate called\n": "terminate called",
		"t critical main: error `a\n  b` initializing config 'x'": "a b",
		"x: Proto constraint validation failed (no chain)\n":      "no chain",
	} {
		assert.Equal(t, want, envoy.Reason(printed), "%q", printed)
	}
	long := envoy.Reason(strings.Repeat("é", 1000))
	assert.LessOrEqual(t, len(long), 610)
	assert.True(t, strings.HasSuffix(long, "é…"))
}
