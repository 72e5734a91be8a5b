package xds

import (
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// comeBack asks for a type, for all of it without names, and says what of it there is.
func (e *envoy) comeBack(t *testing.T, kind resource.Type, has map[string]string, names ...string) {
	t.Helper()
	if len(names) == 0 {
		names = []string{"*"}
	}
	require.NoError(t, e.stream.Send(&discovery.DeltaDiscoveryRequest{
		Node: e.node, TypeUrl: kind, ResourceNamesSubscribe: names, InitialResourceVersions: has,
	}))
}

// had is what an Envoy has of some other control plane's clusters.
func had(names ...string) map[string]string {
	all := map[string]string{}
	for _, name := range names {
		all["provider/"+name] = "of another"
	}
	return all
}

// acknowledge takes a response that was waited for.
func (e *envoy) acknowledge(t *testing.T, r *discovery.DeltaDiscoveryResponse) {
	t.Helper()
	require.NoError(t, e.stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}))
}

// The control plane was started again with another configuration. What an Envoy has and
// the new one does not name, is not taken from under its requests.
func TestWhatAnEnvoyBringsIsNotTakenAtOnce(t *testing.T) {
	s, socket := listening(t)
	s.status.broughtLeast = 2 * time.Second // what comes before that must be through
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Millisecond))
	e := connect(t, socket, "envoy-1")
	begin := time.Now()
	e.comeBack(t, resource.ClusterType, had("gone", "left"))
	assert.Equal(t, change{kind: resource.ClusterType, version: "1", changed: []string{"provider/a"}}, e.take(t))
	e.comeBack(t, resource.RouteType, map[string]string{"postern": "of another"}, "postern")
	e.subscribe(t, resource.SecretType, secretOf("a"))
	for e.take(t).kind != resource.RouteType {
	}
	// A version that names one of them again has it stay.
	require.NoError(t, s.Set(t.Context(), staged(t, "2", "a", "left"), time.Hour))
	assert.Equal(t, change{kind: resource.ClusterType, version: "2", changed: []string{"provider/left"}}, e.take(t))
	for {
		if c := e.take(t); c.kind == resource.ClusterType {
			assert.Equal(t, []string{"provider/gone"}, c.removed)
			break
		}
	}
	assert.GreaterOrEqual(t, time.Since(begin), s.status.broughtLeast)
	e.quiet(t)
}

func TestWhatAnEnvoyBringsStaysAsLongAsItsRequestsMayRun(t *testing.T) {
	s, socket := listening(t)
	s.status.broughtLeast = time.Millisecond
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Hour))
	e := connect(t, socket, "envoy-1")
	e.comeBack(t, resource.ClusterType, had("gone"))
	assert.Empty(t, e.take(t).removed)
	e.quiet(t)
}

func TestNewRoutesWaitForAReturningEnvoysClusters(t *testing.T) {
	s, socket := listening(t)
	s.status.patience = time.Hour
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Hour))
	e := connect(t, socket, "envoy-1")
	e.comeBack(t, resource.ClusterType, had("gone"))
	e.comeBack(t, resource.RouteType, map[string]string{"postern": "of another"}, "postern")
	clusters := e.next(t)
	require.Equal(t, resource.ClusterType, clusters.GetTypeUrl())
	e.quiet(t)
	e.acknowledge(t, clusters)
	e.quiet(t) // its secret is not there
	e.subscribe(t, resource.SecretType, secretOf("a"))
	assert.Equal(t, resource.SecretType, e.take(t).kind)
	assert.Equal(t, change{kind: resource.RouteType, version: "1", changed: []string{"postern"}}, e.take(t))

	// From then on it is as any other.
	require.NoError(t, s.Set(t.Context(), staged(t, "2", "a"), time.Hour))
	for {
		if c := e.take(t); c.kind == resource.RouteType {
			assert.Equal(t, "2", c.version)
			return
		}
	}
}

func TestNewRoutesDoNotWaitForever(t *testing.T) {
	s, socket := listening(t)
	s.status.patience = stageMost
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Hour))
	e := connect(t, socket, "envoy-1")
	begin := time.Now()
	e.comeBack(t, resource.ClusterType, had("gone"))
	e.comeBack(t, resource.RouteType, map[string]string{"postern": "of another"}, "postern")
	e.next(t)
	assert.Equal(t, resource.RouteType, e.next(t).GetTypeUrl())
	assert.GreaterOrEqual(t, time.Since(begin), stageMost*9/10)
}

// Who begins, or has all clusters, gets routes at once.
func TestRoutesDoNotWaitWithoutNeed(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Hour))
	fresh := connect(t, socket, "fresh")
	fresh.subscribe(t, resource.ClusterType)
	fresh.subscribe(t, resource.RouteType, "postern")
	assert.Equal(t, resource.ClusterType, fresh.next(t).GetTypeUrl())
	assert.Equal(t, resource.RouteType, fresh.next(t).GetTypeUrl())
	whole := connect(t, socket, "whole")
	whole.comeBack(t, resource.ClusterType, had("a", "gone"))
	whole.comeBack(t, resource.RouteType, map[string]string{"postern": "of another"}, "postern")
	assert.Equal(t, resource.ClusterType, whole.next(t).GetTypeUrl())
	assert.Equal(t, resource.RouteType, whole.next(t).GetTypeUrl())
}

// What was never asked for is not sent because something else is due.
func TestOnlyWhatWasAskedForIsLookedAtAgain(t *testing.T) {
	s, socket := listening(t)
	s.status.broughtLeast = 50 * time.Millisecond
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Millisecond))
	e := connect(t, socket, "envoy-1")
	e.comeBack(t, resource.ClusterType, had("gone"))
	e.take(t)
	assert.Equal(t, change{kind: resource.ClusterType, version: "1", removed: []string{"provider/gone"}}, e.take(t))
	e.quiet(t)
}
