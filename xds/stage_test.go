package xds

import (
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// staged has a route table that names its version, and clusters that name their
// secrets.
func staged(t *testing.T, version string, providers ...string) *cache.Snapshot {
	t.Helper()
	all := contents{resource.RouteType: {&route.RouteConfiguration{
		Name: "postern", VirtualHosts: []*route.VirtualHost{{Name: version}},
	}}}
	for _, name := range providers {
		all[resource.ClusterType] = append(all[resource.ClusterType], &cluster.Cluster{
			Name: "provider/" + name, AltStatName: secretOf(name),
		})
		all[resource.SecretType] = append(all[resource.SecretType], &tls.Secret{Name: secretOf(name)})
	}
	return all.snapshot(t, version)
}

// quiet holds that nothing comes for a moment.
func (e *envoy) quiet(t *testing.T) {
	t.Helper()
	select {
	case r := <-e.came:
		require.Fail(t, "something came too early", r.GetTypeUrl())
	case <-time.After(50 * time.Millisecond):
	}
}

// watching has all of version 1 and waits for more.
func watching(t *testing.T, s *Server, socket, name string) *envoy {
	t.Helper()
	e := connect(t, socket, name)
	e.subscribe(t, resource.ClusterType)
	e.take(t)
	e.subscribe(t, resource.RouteType, "postern")
	require.Equal(t, "1", e.take(t).version)
	require.Eventually(t, func() bool {
		all := s.Status().Envoys
		for _, one := range all {
			if one.Node == name {
				return len(one.Accepted) == 2 && len(one.Waiting) == 0
			}
		}
		return false
	}, waitFor, tick)
	return e
}

func TestRoutesComeWhenTheirClustersAreThere(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Hour))
	e := watching(t, s, socket, "envoy-1")
	require.NoError(t, s.Set(t.Context(), staged(t, "2", "b"), time.Hour))
	c := e.take(t)
	assert.Equal(t, change{kind: resource.ClusterType, version: "2", changed: []string{"provider/b"}}, c)
	e.quiet(t) // the cluster is known, and its secret is not
	e.subscribe(t, resource.SecretType, secretOf("b"))
	assert.Equal(t, resource.SecretType, e.take(t).kind)
	assert.Equal(t, change{kind: resource.RouteType, version: "2", changed: []string{"postern"}}, e.take(t))
}

func TestWhatBringsNoClusterComesAtOnce(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a", "b"), time.Hour))
	e := watching(t, s, socket, "envoy-1")
	silent := watching(t, s, socket, "silent")
	for _, next := range []*cache.Snapshot{staged(t, "2", "a"), staged(t, "3", "a", "b")} { // b is kept: it is there
		require.NoError(t, s.Set(t.Context(), next, time.Hour))
		assert.Equal(t, resource.RouteType, e.take(t).kind)
	}
	silent.next(t)
}

// An Envoy that says nothing holds up the others of its cluster once, and not for long.
func TestASilentEnvoyIsWaitedForOnce(t *testing.T) {
	s, socket := listening(t)
	s.status.patience = stageMost
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Hour))
	e := watching(t, s, socket, "envoy-1")
	silent := watching(t, s, socket, "silent")
	e.subscribe(t, resource.SecretType, secretOf("b"), secretOf("c"))
	push := func(version string, providers ...string) time.Duration {
		begin := time.Now()
		require.NoError(t, s.Set(t.Context(), staged(t, version, providers...), time.Hour))
		for {
			if c := e.take(t); c.kind == resource.RouteType {
				require.Equal(t, version, c.version)
				return time.Since(begin)
			}
		}
	}
	first := push("2", "a", "b")
	assert.GreaterOrEqual(t, first, stageMost*9/10)
	assert.Less(t, push("3", "a", "b", "c"), first)
	silent.next(t)
}

func TestAnEnvoyThatRefusesIsNotWaitedFor(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Hour))
	e := watching(t, s, socket, "envoy-1")
	refusing := watching(t, s, socket, "refusing")
	e.subscribe(t, resource.SecretType, secretOf("b"))
	begin := time.Now()
	require.NoError(t, s.Set(t.Context(), staged(t, "2", "b"), time.Hour))
	refusing.refuse(t, "no such filter")
	for e.take(t).kind != resource.RouteType {
	}
	assert.Less(t, time.Since(begin), ownMost)
}

func TestALaterVersionTakesTheStagesPlace(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Hour))
	e := watching(t, s, socket, "envoy-1")
	require.NoError(t, s.Set(t.Context(), staged(t, "2", "b"), time.Hour))
	assert.Equal(t, []string{"provider/b"}, e.take(t).changed)
	require.NoError(t, s.Set(t.Context(), staged(t, "3", "c"), time.Hour))
	c := e.take(t)
	assert.Equal(t, []string{"provider/c"}, c.changed)
	assert.Equal(t, []string{"provider/b"}, c.removed, "no route has led there")
	e.subscribe(t, resource.SecretType, secretOf("c"))
	assert.Equal(t, resource.SecretType, e.take(t).kind)
	assert.Equal(t, change{kind: resource.RouteType, version: "3", changed: []string{"postern"}}, e.take(t))

	// Back to what is in force: nothing waits any more.
	require.NoError(t, s.Set(t.Context(), staged(t, "4", "d"), time.Hour))
	assert.Equal(t, []string{"provider/d"}, e.take(t).changed)
	require.NoError(t, s.Set(t.Context(), staged(t, "3", "c"), time.Hour))
	assert.Equal(t, []string{"provider/d"}, e.take(t).removed)
	e.quiet(t)
}

// Another order of groups, pushed while a version waits, takes its place, and knows only
// how long that version's own requests run.
func TestAStageKeepsForAllThatItReplaces(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Hour))
	e := watching(t, s, socket, "envoy-1")
	require.NoError(t, s.Set(t.Context(), staged(t, "2", "b"), time.Hour))
	assert.Equal(t, []string{"provider/b"}, e.take(t).changed)
	e.subscribe(t, resource.SecretType, secretOf("b"), secretOf("c"))
	require.NoError(t, s.Set(t.Context(), staged(t, "2", "b", "c"), time.Nanosecond))
	for e.take(t).kind != resource.RouteType {
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.Greater(t, time.Until(s.own.retired.byType[resource.ClusterType]["provider/a"].until), time.Minute)
}

func TestNamesAreGivenTimeToBeFound(t *testing.T) {
	byName := func(version, name string) *cache.Snapshot {
		return contents{
			resource.RouteType:   {&route.RouteConfiguration{Name: "postern", VirtualHosts: []*route.VirtualHost{{Name: version}}}},
			resource.ClusterType: {&cluster.Cluster{Name: name, ClusterDiscoveryType: &cluster.Cluster_ClusterType{ClusterType: &cluster.Cluster_CustomClusterType{Name: "envoy.clusters.dns"}}}},
		}.snapshot(t, version)
	}
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), byName("1", "a"), time.Hour))
	e := watching(t, s, socket, "envoy-1")
	begin := time.Now()
	require.NoError(t, s.Set(t.Context(), byName("2", "b"), time.Hour))
	assert.Equal(t, []string{"b"}, e.take(t).changed)
	assert.Equal(t, resource.RouteType, e.take(t).kind)
	assert.GreaterOrEqual(t, time.Since(begin), stageNames)
}

func TestNobodyIsWaitedForWhereThereIsNobody(t *testing.T) {
	c := newClock(t)
	require.NoError(t, c.Set(t.Context(), staged(t, "1", "a"), keep))
	require.NoError(t, c.Set(t.Context(), staged(t, "2", "b"), keep))
	snapshot, err := c.cache.GetSnapshot(own)
	require.NoError(t, err)
	assert.Equal(t, "2", snapshot.GetVersion(resource.RouteType))
}

func TestStopWhileAStageWaits(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), staged(t, "1", "a"), time.Hour))
	e := watching(t, s, socket, "envoy-1")
	require.NoError(t, s.Set(t.Context(), staged(t, "2", "b"), time.Hour))
	e.next(t)
	s.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.False(t, s.own.next.timer.Stop(), "the timer is still running")
}
