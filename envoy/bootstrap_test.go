package envoy_test

import (
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

var example = envoy.BootstrapSettings{
	NodeID:      "postern-1",
	Cluster:     "postern",
	AdminSocket: "/run/postern/admin.sock",
	XDSSocket:   "/run/postern/xds.sock",
}

func TestBootstrapIsAsReviewed(t *testing.T) {
	text, err := envoy.Bootstrap(example)
	require.NoError(t, err)
	golden := filepath.Join("testdata", "bootstrap.json")
	if *update {
		require.NoError(t, os.WriteFile(golden, append(text, '\n'), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(text)+"\n", "go test ./envoy -update writes it anew")
}

func TestEnvoyAcceptsTheBootstrap(t *testing.T) {
	text, err := envoy.Bootstrap(example)
	require.NoError(t, err)
	require.NoError(t, envoy.Validate(t.Context(), envoytest.Binary(t), text))
}

func TestBootstrapRefusesWhatEnvoyWould(t *testing.T) {
	for want, change := range map[string]func(*envoy.BootstrapSettings){
		"NodeID is empty":            func(s *envoy.BootstrapSettings) { s.NodeID = "" },
		"Cluster is empty":           func(s *envoy.BootstrapSettings) { s.Cluster = "" },
		"is not absolute":            func(s *envoy.BootstrapSettings) { s.XDSSocket = "run/xds.sock" },
		"is longer than 103 bytes":   func(s *envoy.BootstrapSettings) { s.AdminSocket = "/" + strings.Repeat("a", 103) },
		"MaxConnections is negative": func(s *envoy.BootstrapSettings) { s.MaxConnections = -1 },
	} {
		settings := example
		change(&settings)
		_, err := envoy.Bootstrap(settings)
		assert.ErrorContains(t, err, want)
	}
}

// With the real bootstrap Envoy is ready when the control plane has spoken, not
// before, and says nothing that looks like trouble.
func TestEnvoyIsReadyWhenTheControlPlaneHasSpoken(t *testing.T) {
	var log lockedText
	r := newRig(t, func(s *envoy.SupervisorSettings) {
		settings := example
		settings.AdminSocket = s.Admin.Socket
		settings.XDSSocket = filepath.Join(s.Folder, "xds.sock")
		text, err := envoy.Bootstrap(settings)
		require.NoError(t, err)
		s.Bootstrap, s.Log = text, &log
	})
	r.start(t.Context(), t)
	r.await(t, envoy.Starting)
	require.Eventually(t, func() bool {
		info, err := r.admin.ServerInfo(t.Context())
		return err == nil && info.State != "LIVE"
	}, wait, tick)
	require.ErrorContains(t, r.admin.Ready(t.Context()), "Envoy is not ready: ")

	began := time.Now()
	serveXDS(t, filepath.Join(r.folder, "xds.sock"), &cluster.Cluster{Name: "from-the-control-plane"})
	r.await(t, envoy.Ready)
	assert.Less(t, time.Since(began), 10*time.Second, "Envoy tries again soon")
	dump, err := r.admin.ConfigDump(t.Context(), "dynamic_active_clusters")
	require.NoError(t, err)
	assert.Contains(t, string(dump), "from-the-control-plane")
	dump, err = r.admin.ConfigDump(t.Context(), "dynamic_active_clusters", "last_updated")
	require.NoError(t, err)
	assert.Contains(t, string(dump), "last_updated")
	assert.NotContains(t, string(dump), "from-the-control-plane", "the mask leaves it out")
	for line := range strings.Lines(log.String()) {
		assert.Contains(t, line, "DeltaAggregatedResources gRPC config stream to "+envoy.XDSCluster,
			"the only complaint is that the control plane came late")
	}
	r.Stop()
	require.NoError(t, receive(t, r.result))
}

// serveXDS is a control plane with one cluster and no listeners.
func serveXDS(t *testing.T, socket string, one *cluster.Cluster) {
	t.Helper()
	snapshots := cache.NewSnapshotCache(true, cache.IDHash{}, nil)
	snapshot, err := cache.NewSnapshot("1", map[resource.Type][]types.Resource{
		resource.ClusterType: {one}, resource.ListenerType: {},
	})
	require.NoError(t, err)
	require.NoError(t, snapshots.SetSnapshot(t.Context(), example.NodeID, snapshot))
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	service := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(service, server.NewServer(ctx, snapshots, nil))
	done := make(chan error, 1)
	go func() { done <- service.Serve(listener) }()
	t.Cleanup(func() {
		service.Stop()
		cancel()
		<-done
	})
}
