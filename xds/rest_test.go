package xds

import (
	"fmt"
	"math"
	"testing"

	groups "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/priority_group/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
)

const restful = `
providers:
  a: {schema: openai, url: "https://a.example/v1"}
  b: {schema: openai, url: "https://b.example/v1", keys: [{key: "${B_0}"}, {key: "${B_1}", weight: 2}]}
  c: {schema: openai, url: "https://c.example/v1"}
models:
  m: {route: [[{provider: a, weight: 90}, {provider: c, weight: 10}]]}
  sticks: {sticky: user, route: [[{provider: a, weight: 90}, {provider: c, weight: 10}]]}
  keys: {route: [[{provider: b}], [{provider: a}]]}
  named: {route: [[{provider: a, model: x}, {provider: a, model: y}]]}
default_provider: b
`

func buildResting(t *testing.T, rest map[string][]config.Member) *cache.Snapshot {
	t.Helper()
	cfg, err := config.Parse("postern.yaml", []byte(restful), config.Env{Lookup: func(string) (string, bool) { return "k", true }})
	require.NoError(t, err)
	snapshot, err := Build(Input{
		Config: cfg, JWKS: []byte(`{"keys":[]}`), Trust: "/etc/ssl/ca.crt", Rest: rest,
		Sockets: Sockets{Answer: "/run/answer.sock", Demo: "/run/demo.sock", Usage: "/run/usage.sock", Process: []string{"/run/process.sock"}},
	})
	require.NoError(t, err)
	return snapshot
}

func TestWhoRestsComesLastInItsGroup(t *testing.T) {
	a, c := config.Member{Provider: "a"}, config.Member{Provider: "c"}
	for name, test := range map[string]struct {
		entry string
		rest  []config.Member
		want  [][]string
	}{
		"nobody":         {"m", nil, [][]string{{"guarded/a", "guarded/c"}, {"provider/c", "provider/a"}}},
		"the larger":     {"m", []config.Member{a}, [][]string{{"guarded/c"}, {"provider/a"}}},
		"the smaller":    {"m", []config.Member{c}, [][]string{{"guarded/a"}, {"provider/c"}}},
		"all":            {"m", []config.Member{a, c}, [][]string{{"guarded/a", "guarded/c"}, {"provider/c", "provider/a"}}},
		"somebody else":  {"m", []config.Member{{Provider: "b"}, {Provider: "a", Model: "x"}}, [][]string{{"guarded/a", "guarded/c"}, {"provider/c", "provider/a"}}},
		"that sticks":    {"sticks", []config.Member{a}, [][]string{{"guarded/c"}, {"provider/a"}}},
		"a key":          {"keys", []config.Member{{Provider: "b", Key: "0"}}, [][]string{{"guarded/b#1"}, {"guarded/b#0"}, {"provider/a"}}},
		"a group of one": {"keys", []config.Member{{Provider: "a"}}, [][]string{{"guarded/b#0", "guarded/b#1"}, {"guarded/b#1", "guarded/b#0"}, {"provider/a"}}},
		"one model":      {"named", []config.Member{{Provider: "a", Model: "x"}}, [][]string{{"guarded/a=y"}, {"provider/a=x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			snapshot := buildResting(t, map[string][]config.Member{test.entry: test.rest, "unknown": {a}})
			_, got := actionOf(t, snapshot, test.entry)
			assert.Equal(t, test.want, got)
			assert.Equal(t, names(buildResting(t, nil).GetResources(typeOfClusters)), names(snapshot.GetResources(typeOfClusters)))
		})
	}
}

const typeOfClusters = "type.googleapis.com/envoy.config.cluster.v3.Cluster"

func TestAKeyRestsForWhatNamesNoModelToo(t *testing.T) {
	cfg, err := config.Parse("postern.yaml", []byte(restful), config.Env{Lookup: func(string) (string, bool) { return "k", true }})
	require.NoError(t, err)
	r := passRoute(Input{Config: cfg, Rest: map[string][]config.Member{"": {{Provider: "b", Key: "0"}}}})
	by := new(groups.PriorityGroupClusterSpecifier)
	require.NoError(t, r.GetRoute().GetInlineClusterSpecifierPlugin().GetExtension().GetTypedConfig().UnmarshalTo(by))
	assert.Equal(t, "provider/b#1", by.GetPriorityGroups()[0].GetClusters()[0].GetClusterName())
}

// Whoever rests, each attempt is with another member, none that rests is tried before the
// others, everybody else's users stay where they are, and those of who rests are shared
// out by the weights.
func TestRestingMovesNobodyElse(t *testing.T) {
	r := random()
	for range 60 {
		var group []member
		sum := uint64(0)
		for i := range 2 + r.IntN(5) {
			group = append(group, member{cluster: fmt.Sprint("provider/p", i), provider: fmt.Sprint("p", i), weight: 1 + r.Uint64N(100)})
			sum += group[i].weight
		}
		out := map[string]bool{}
		for _, m := range group {
			if r.IntN(3) == 0 {
				out[m.provider] = true
			}
		}
		if len(out) == len(group) {
			out = map[string]bool{}
		}
		rests := func(m member) bool { return out[m.provider] }
		before := rotateInPlace([][]member{group}, func(member) bool { return false })
		after := rotateInPlace([][]member{group}, rests)
		require.Len(t, after, len(group))
		var well uint64
		for _, m := range group {
			if !rests(m) {
				well += m.weight
			}
		}
		got, n := map[string]float64{}, 2000
		for i := range n {
			// Draws that are spread evenly over all that Envoy may draw.
			number := uint64(i) * (sum * max(1, evenly/sum)) / uint64(n)
			was, is := draw(before[0], number), draw(after[0], number)
			if !out[was[len("provider/"):]] {
				require.Equal(t, was, is)
			}
			got[is]++
			met := map[string]bool{}
			for at, attempt := range after {
				name := draw(attempt, number)
				require.False(t, met[name])
				met[name] = true
				require.Equal(t, at >= len(group)-len(out), out[name[len("provider/"):]], "attempt %d of %v", at, out)
			}
		}
		for _, m := range group {
			if !rests(m) {
				want := float64(m.weight) / float64(well)
				assert.InDelta(t, want, got[m.cluster]/float64(n), math.Max(0.005, 0.01*want))
			}
		}
	}
}
