package envoy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
	"github.com/postern-proxy/postern/test/authority"
)

func sidecar(address string) envoy.BootstrapSettings {
	return envoy.BootstrapSettings{
		NodeID: "host-1", Cluster: "edge", AdminSocket: "/run/postern/admin.sock",
		ControlPlane: &envoy.ControlPlane{
			Address: address, Certificate: "/etc/postern/cert.pem", Key: "/etc/postern/key.pem", Authorities: "/etc/postern/ca.pem",
		},
	}
}

func TestTheBootstrapOfASidecarIsAsReviewed(t *testing.T) {
	text, err := envoy.Bootstrap(sidecar("postern.internal:18000"))
	require.NoError(t, err)
	golden := filepath.Join("testdata", "sidecar.json")
	if *update {
		require.NoError(t, os.WriteFile(golden, append(text, '\n'), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(text)+"\n", "go test ./envoy -update writes it anew")
}

func TestEnvoyAcceptsTheBootstrapOfASidecar(t *testing.T) {
	binary := envoytest.Binary(t)
	folder := t.TempDir()
	files := authority.New(t).Write(t, folder, "host-1")
	for name, address := range map[string]string{"name": "postern.internal:18000", "address": "127.0.0.1:18000", "IPv6": "[::1]:18000"} {
		for _, secrets := range []string{"", folder} {
			t.Run(name+secrets, func(t *testing.T) {
				settings := sidecar(address)
				c := settings.ControlPlane
				c.Certificate, c.Key, c.Authorities, c.Secrets = files.Certificate, files.Key, files.Authorities, secrets
				written, err := c.SecretFiles()
				require.NoError(t, err)
				for name, text := range written {
					require.NoError(t, os.WriteFile(filepath.Join(folder, name), text, 0o600))
				}
				text, err := envoy.Bootstrap(settings)
				require.NoError(t, err)
				assert.NotContains(t, string(text), "PRIVATE KEY")
				require.NoError(t, envoy.Validate(t.Context(), binary, text))
			})
		}
	}
}

func TestASidecarsBootstrapRefusesWhatEnvoyWould(t *testing.T) {
	for want, change := range map[string]func(*envoy.ControlPlane){
		"is not host:port":                  func(c *envoy.ControlPlane) { c.Address = "postern.internal" },
		`":1" is not host:port`:             func(c *envoy.ControlPlane) { c.Address = ":1" },
		"has no port":                       func(c *envoy.ControlPlane) { c.Address = "postern.internal:0" },
		`the certificate, "", is not`:       func(c *envoy.ControlPlane) { c.Certificate = "" },
		`the key, "key.pem", is not`:        func(c *envoy.ControlPlane) { c.Key = "key.pem" },
		`the authorities, "ca.pem", is not`: func(c *envoy.ControlPlane) { c.Authorities = "ca.pem" },
		"secrets' folder is not absolute":   func(c *envoy.ControlPlane) { c.Secrets = "here" },
	} {
		settings := sidecar("postern.internal:18000")
		change(settings.ControlPlane)
		_, err := envoy.Bootstrap(settings)
		assert.ErrorContains(t, err, want)
	}
}
