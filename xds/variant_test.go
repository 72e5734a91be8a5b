package xds

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
)

// keyed is a provider whose keys have these weights.
func keyed(weights ...int) *config.Provider {
	p := &config.Provider{URL: "http://127.0.0.1:9/v1"}
	for _, weight := range weights {
		p.Keys = append(p.Keys, config.Key{Key: config.NewSecret("${K}", "k"), Weight: &weight})
	}
	return p
}

func TestAProvidersKeysShareItsWeight(t *testing.T) {
	ninety, ten := 90, 10
	cfg := &config.Config{Providers: map[string]*config.Provider{
		"a": keyed(3, 1), "b": keyed(1, 1, 1), "c": {URL: "http://127.0.0.1:9/v1"},
	}}
	got := members(cfg, "m", [][]config.Target{
		{{Provider: "a", Weight: &ninety}, {Provider: "c", Weight: &ten}},
		{{Provider: "a"}, {Provider: "b"}},
		{{Provider: "c"}},
	})
	assert.Equal(t, [][]member{
		// Of 400: 90 in a hundred are a's, three quarters of them its first key's.
		{{"provider/a#0", 270, "a", "", "0"}, {"provider/c", 40, "c", "", ""}, {"provider/a#1", 90, "a", "", "1"}},
		// The keys of one provider do not stand side by side while others are there.
		{{"provider/a#0", 9, "a", "", "0"}, {"provider/b#0", 4, "b", "", "0"}, {"provider/a#1", 3, "a", "", "1"}, {"provider/b#1", 4, "b", "", "1"}, {"provider/b#2", 4, "b", "", "2"}},
		{{"provider/c", 1, "c", "", ""}},
	}, got)
}

// Weights that have no small common multiple are still weights that Envoy takes, and
// nobody is left out.
func TestOddWeightsStayWithinBounds(t *testing.T) {
	most, least := 1_000_000, 1
	odd := []int{997, 991, 983, 977, 971, 967, 953, 947}
	cfg := &config.Config{Providers: map[string]*config.Provider{"a": keyed(odd...), "b": keyed(odd[1:]...), "c": keyed(1000, 1)}}
	group := members(cfg, "m", [][]config.Target{{{Provider: "a", Weight: &most}, {Provider: "b", Weight: &most}, {Provider: "c", Weight: &least}}})[0]
	require.Len(t, group, 17)
	var sum, a uint64
	for _, m := range group {
		require.Positive(t, m.weight, m.cluster)
		sum += m.weight
		if m.cluster[:len("provider/a")] == "provider/a" {
			a += m.weight
		}
	}
	assert.LessOrEqual(t, sum, uint64(mostWeight+17))
	assert.InEpsilon(t, 0.5, float64(a)/float64(sum), 1e-4)
}

func TestAVariantsNameIsItsOwn(t *testing.T) {
	seen := map[string]variant{}
	for _, v := range []variant{
		{provider: "p"}, {provider: "p", key: "0"}, {provider: "p", key: "1"}, {provider: "p", path: true},
		{provider: "p", path: true, deployment: "d"}, {provider: "p", path: true, to: "d"}, {provider: "p", to: "d"},
		{provider: "p", to: "@d"}, {provider: "p", key: "0", path: true, to: "d"}, {provider: "p", to: "d*", pattern: "x*"},
		{provider: "p", path: true, deployment: "d*", pattern: "x*"}, {provider: "p", path: true, to: "d*", pattern: "x*"},
		{provider: "p", hold: true}, {provider: "p", key: "0", hold: true}, {provider: "p", path: true, hold: true},
	} {
		other, twice := seen[v.cluster()]
		assert.False(t, twice, "%+v and %+v are both %s", v, other, v.cluster())
		seen[v.cluster()] = v
	}
}
