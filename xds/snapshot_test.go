package xds

import (
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
)

// everyKind are the types that are served.
func everyKind() []resource.Type {
	return []resource.Type{
		resource.ClusterType, resource.SecretType, resource.RouteType, resource.ListenerType, resource.ExtensionConfigType,
	}
}

// contents are the resources of a snapshot for tests, by type.
type contents map[resource.Type][]types.Resource

// snapshotOf has one listener, one route table and one extension, and a cluster with
// its secret for each provider.
func snapshotOf(t *testing.T, version string, providers ...string) *cache.Snapshot {
	t.Helper()
	all := contents{
		resource.ListenerType:        {&listener.Listener{Name: "postern"}},
		resource.RouteType:           {&route.RouteConfiguration{Name: "postern"}},
		resource.ExtensionConfigType: {&core.TypedExtensionConfig{Name: "postern.keys"}},
	}
	for _, name := range providers {
		all[resource.ClusterType] = append(all[resource.ClusterType], &cluster.Cluster{Name: "provider/" + name})
		all[resource.SecretType] = append(all[resource.SecretType], &tls.Secret{Name: secretOf(name)})
	}
	return all.snapshot(t, version)
}

// secretOf is the name of a provider's secret in these snapshots.
func secretOf(provider string) string { return credentialPrefix + provider }

func (c contents) snapshot(t *testing.T, version string) *cache.Snapshot {
	t.Helper()
	snapshot, err := cache.NewSnapshot(version, c)
	require.NoError(t, err)
	return snapshot
}

// compiled is a configuration, every key of which is set, as Build makes it.
func compiled(t *testing.T, text string) (*config.Config, *cache.Snapshot) {
	t.Helper()
	cfg, err := config.Parse("postern.yaml", []byte(text), config.Env{
		Lookup: func(string) (string, bool) { return "sk-test", true },
	})
	require.NoError(t, err)
	snapshot, err := Build(Input{
		Config: cfg, JWKS: []byte(`{"keys":[]}`), Trust: "/etc/ssl/ca.crt",
		Sockets: Sockets{Answer: "/run/answer.sock", Demo: "/run/demo.sock", Usage: "/run/usage.sock", Process: []string{"/run/process.sock"}},
	})
	require.NoError(t, err)
	return cfg, snapshot
}
