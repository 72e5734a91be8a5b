package envoy_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
)

func TestAdminReadsWhatEnvoyTells(t *testing.T) {
	r := newRig(t, nil)
	r.start(t.Context(), t)
	r.await(t, envoy.Ready)
	response, err := client(t).Get(r.url(t, "/direct"))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	stats, err := r.admin.Stats(t.Context(), `http\.door\.downstream_rq_(total|active)`)
	require.NoError(t, err)
	assert.Equal(t, map[string]int64{"http.door.downstream_rq_total": 1, "http.door.downstream_rq_active": 0}, stats)
	all, err := r.admin.Stats(t.Context(), "")
	require.NoError(t, err)
	assert.Greater(t, len(all), 100)
	assert.NotContains(t, all, "http.door.downstream_rq_time", "histograms are no numbers")

	metrics, err := r.admin.Prometheus(t.Context())
	require.NoError(t, err)
	assert.Contains(t, string(metrics), `envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="door"} 1`)

	dump, err := r.admin.ConfigDump(t.Context(), "static_listeners")
	require.NoError(t, err)
	assert.Contains(t, string(dump), `"stat_prefix": "door"`)
	assert.NotContains(t, string(dump), "admin.sock", "only what was asked for")
	_, err = r.admin.ConfigDump(t.Context(), "no_such_resource")
	assert.ErrorContains(t, err, "to /config_dump")
}

func TestAdminWithoutAnEnvoy(t *testing.T) {
	admin := envoy.Admin{Socket: filepath.Join(t.TempDir(), "none")}
	require.ErrorContains(t, admin.Ready(t.Context()), "the admin interface of Envoy does not answer")
	require.ErrorContains(t, admin.Drain(t.Context()), "the admin interface of Envoy does not answer")
	_, err := admin.Stats(t.Context(), "")
	assert.Error(t, err)
}

func TestAdminDoesNotWaitForeverForASilentEnvoy(t *testing.T) {
	folder, cleanup, err := envoy.RuntimeFolder(t.TempDir())
	require.NoError(t, err)
	defer cleanup()
	socket := filepath.Join(folder, "silent.sock")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, envoy.Admin{Socket: socket}.Ready(ctx), context.DeadlineExceeded)
}
