package xds

import (
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	aggregate "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/aggregate/v3"
	groups "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/priority_group/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

const threeGroups = `
providers:
  a: {schema: openai, url: "https://a.example/v1"}
  b: {schema: openai, url: "https://b.example/v1"}
  c: {schema: openai, url: "https://c.example/v1"}
  missing: {schema: openai, url: "https://d.example/v1", key: "${NO_SUCH}"}
models:
  m:
    prefer: latency
    route: [[{provider: a}], [{provider: missing}], [{provider: b, weight: 3}, {provider: c}]]
  alone: {sticky: user, route: [[{provider: a}]]}
  session: {sticky: "header:X-Session", route: [[{provider: a}]]}
  key: {sticky: key, route: [[{provider: a}]]}
`

func build3(t *testing.T, order map[string][]int) *cache.Snapshot {
	t.Helper()
	cfg, err := config.Parse("postern.yaml", []byte(threeGroups), config.Env{
		Lookup: func(string) (string, bool) { return "", false },
	})
	require.NoError(t, err)
	snapshot, err := Build(Input{
		Config: cfg, JWKS: []byte(`{"keys":[]}`), Trust: "/etc/ssl/ca.crt", Order: order,
		Sockets: Sockets{Answer: "/run/answer.sock", Demo: "/run/demo.sock", Usage: "/run/usage.sock", Process: []string{"/run/process.sock"}},
	})
	require.NoError(t, err)
	return snapshot
}

// actionOf is where a route of a snapshot sends requests, attempt by attempt.
func actionOf(t *testing.T, snapshot *cache.Snapshot, name string) (*route.RouteAction, [][]string) {
	t.Helper()
	table := snapshot.GetResources(resource.RouteType)[routeTable].(*route.RouteConfiguration)
	for _, r := range table.GetVirtualHosts()[0].GetRoutes() {
		if r.GetName() != "model/"+name {
			continue
		}
		by := new(groups.PriorityGroupClusterSpecifier)
		require.NoError(t, r.GetRoute().GetInlineClusterSpecifierPlugin().GetExtension().GetTypedConfig().UnmarshalTo(by))
		assert.True(t, by.GetUseHashPolicy().GetValue())
		var attempts [][]string
		for _, group := range by.GetPriorityGroups() {
			var clusters []string
			for _, c := range group.GetClusters() {
				clusters = append(clusters, c.GetClusterName())
			}
			attempts = append(attempts, clusters)
		}
		return r.GetRoute(), attempts
	}
	t.Fatalf("no route %s", name)
	return nil, nil
}

func TestOrder(t *testing.T) {
	inTurn := [][]string{{"guarded/a"}, {"guarded/b", "guarded/c"}, {"provider/c", "provider/b"}}
	for name, c := range map[string]struct {
		order []int
		want  [][]string
	}{
		"none":          {nil, inTurn},
		"as configured": {[]int{0, 1}, inTurn},
		"another":       {[]int{1, 0}, [][]string{{"guarded/b", "guarded/c"}, {"guarded/c", "guarded/b"}, {"provider/a"}}},
		"too short":     {[]int{1}, inTurn},
		"too long":      {[]int{2, 1, 0}, inTurn},
		"twice":         {[]int{1, 1}, inTurn},
		"out of it":     {[]int{2, 1}, inTurn},
		"negative":      {[]int{-1, 1}, inTurn},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := actionOf(t, build3(t, map[string][]int{"m": c.order, "unknown": {0}}), "m")
			assert.Equal(t, c.want, got)
		})
	}
}

// How groups stand is told in the order that they are tried in, and which are only those of
// the one before that rest.
func TestStands(t *testing.T) {
	cfg, err := config.Parse("postern.yaml", []byte(threeGroups), config.Env{Lookup: func(string) (string, bool) { return "", false }})
	require.NoError(t, err)
	in := Input{Config: cfg, Stands: map[string][]wire.Standing{"m": {wire.Usable, wire.Down}}}
	stands := func(name string) string { return in.stands(name, members(cfg, name, in.ordered(name))) }
	assert.Equal(t, "03", stands("m"))
	in.Order = map[string][]int{"m": {1, 0}}
	assert.Equal(t, "30", stands("m"))
	in.Rest = map[string][]config.Member{"m": {{Provider: "b"}}}
	assert.Equal(t, "340", stands("m"))
	in.Stands = nil
	assert.Equal(t, "040", stands("m"))
	in.Order, in.Rest = map[string][]int{"m": {1, 1}}, nil
	in.Stands = map[string][]wire.Standing{"m": {wire.Usable, wire.Down}}
	assert.Equal(t, "03", stands("m"), "what is no order is none")
	in.Stands["m"] = in.Stands["m"][:1]
	assert.Empty(t, stands("m"), "of another version")
	assert.Empty(t, stands("alone"))
}

// The clusters do not depend on the order: what is known of a provider would be lost.
func TestOrderLeavesTheClustersAlone(t *testing.T) {
	one := build3(t, nil).GetResources(resource.ClusterType)
	two := build3(t, map[string][]int{"m": {1, 0}}).GetResources(resource.ClusterType)
	assert.Equal(t, names(one), names(two))
	assert.Subset(t, names(one), []string{"guarded/a", "guarded/b", "guarded/c", "provider/a", "provider/b", "provider/c"})
}

// The version is the configuration's, and stays; what is sent follows the content.
func TestAnOrderIsSentWithoutANewVersion(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), build3(t, nil), time.Hour))
	e := connect(t, socket, "envoy-1")
	e.subscribe(t, resource.RouteType, routeTable)
	before := e.take(t)
	require.Equal(t, []string{routeTable}, before.changed)
	require.NoError(t, s.Set(t.Context(), build3(t, map[string][]int{"m": {1, 0}}), time.Hour))
	assert.Equal(t, before, e.take(t))
}

func TestGuarded(t *testing.T) {
	all := build3(t, nil).GetResources(resource.ClusterType)
	plain, watched, guarded := all["provider/a"].(*cluster.Cluster), all["watched/a"].(*cluster.Cluster), all["guarded/a"].(*cluster.Cluster)
	assert.Nil(t, plain.GetOutlierDetection())
	assert.Nil(t, guarded.GetOutlierDetection())
	for _, c := range []*cluster.Cluster{watched, guarded} {
		assert.Equal(t, "provider/a", c.GetAltStatName())
		assert.Zero(t, c.GetCommonLbConfig().GetHealthyPanicThreshold().GetValue())
	}
	assert.EqualValues(t, 100, watched.GetOutlierDetection().GetMaxEjectionPercent().GetValue(), "all of them")
	assert.Equal(t, "watched/a", watched.GetLoadAssignment().GetClusterName())
	assert.NotNil(t, watched.GetCommonLbConfig().GetUpdateMergeWindow(), "an ejection is known at once")
	inner := new(aggregate.ClusterConfig)
	require.NoError(t, guarded.GetClusterType().GetTypedConfig().UnmarshalTo(inner))
	assert.Equal(t, []string{"watched/a", "sink/a"}, inner.GetClusters())
	assert.Nil(t, all["sink/a"].(*cluster.Cluster).GetOutlierDetection(), "it is never left alone")
}

func TestSticky(t *testing.T) {
	snapshot := build3(t, nil)
	for name, header := range map[string]string{"alone": "x-postern-user", "key": "x-postern-key", "session": "x-session"} {
		action, _ := actionOf(t, snapshot, name)
		require.Len(t, action.GetHashPolicy(), 1, name)
		assert.Equal(t, header, action.GetHashPolicy()[0].GetHeader().GetHeaderName())
	}
	action, _ := actionOf(t, snapshot, "m")
	assert.Empty(t, action.GetHashPolicy())
}

// Only where one provider is asked again is there something to wait for.
func TestWaiting(t *testing.T) {
	snapshot := build3(t, nil)
	alone, _ := actionOf(t, snapshot, "alone")
	assert.EqualValues(t, 1, alone.GetRetryPolicy().GetNumRetries().GetValue())
	assert.NotNil(t, alone.GetRetryPolicy().GetRateLimitedRetryBackOff())
	assert.Empty(t, alone.GetRetryPolicy().GetRetriableStatusCodes())
	many, _ := actionOf(t, snapshot, "m")
	assert.EqualValues(t, 2, many.GetRetryPolicy().GetNumRetries().GetValue())
	assert.Nil(t, many.GetRetryPolicy().GetRateLimitedRetryBackOff())
	assert.NotContains(t, many.GetRetryPolicy().GetRetriableStatusCodes(), uint32(400))
}
