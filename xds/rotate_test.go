package xds

import (
	"fmt"
	"math/rand/v2"
	"testing"

	groups "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/priority_group/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
)

// random gives the same sequence in every run, so that a failure is one again.
func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// configOf has the providers of a route, each with one key at most.
func configOf(route [][]config.Target) *config.Config {
	cfg := &config.Config{Providers: map[string]*config.Provider{}}
	for _, targets := range route {
		for _, target := range targets {
			cfg.Providers[target.Provider] = &config.Provider{URL: "http://127.0.0.1:9/v1"}
		}
	}
	return cfg
}

// draw is the cluster that Envoy takes for one random number: that number, modulo
// the sum, along the weights in their order.
func draw(group *groups.PriorityGroup, number uint64) string {
	var total uint64
	for _, c := range group.GetClusters() {
		total += uint64(c.GetWeight().GetValue())
	}
	number %= total
	for _, c := range group.GetClusters() {
		if weight := uint64(c.GetWeight().GetValue()); number < weight {
			return c.GetClusterName()
		} else {
			number -= weight
		}
	}
	return ""
}

// someRoute is a route of up to four groups of up to five targets; every group has
// one that is not out.
func someRoute(r *rand.Rand) [][]config.Target {
	route := make([][]config.Target, 1+r.IntN(4))
	for i := range route {
		for j := range 1 + r.IntN(5) {
			weight := r.IntN(4) * r.IntN(50) // often 0
			if j == 0 {
				weight++
			}
			target := config.Target{Provider: fmt.Sprintf("p%d-%d", i, j), Weight: &weight}
			if weight == 1 && r.IntN(2) == 0 {
				target.Weight = nil // the default
			}
			route[i] = append(route[i], target)
		}
		r.Shuffle(len(route[i]), func(a, b int) { route[i][a], route[i][b] = route[i][b], route[i][a] })
	}
	return route
}

func TestRotateMeetsEachProviderOnceWhateverIsDrawn(t *testing.T) {
	r := random()
	for range 500 {
		route := someRoute(r)
		attempts := rotate(members(configOf(route), "m", route))
		seen := map[string]bool{}
		for _, a := range attempts {
			require.False(t, seen[a.GetName()], "the name %s stands twice", a.GetName())
			seen[a.GetName()] = true
		}
		for range 20 {
			number, at := r.Uint64(), 0
			for _, targets := range route {
				want := map[string]bool{}
				for _, target := range targets {
					if target.Share() > 0 {
						want["provider/"+target.Provider] = true
					}
				}
				met := map[string]bool{}
				for range want {
					met[draw(attempts[at], number)] = true // Envoy has one number for all attempts
					at++
				}
				require.Equal(t, want, met)
			}
			require.Equal(t, len(attempts), at)
		}
	}
}

func TestRotateKeepsTheWeightsInTheirPlaces(t *testing.T) {
	r := random()
	for range 200 {
		route, at := someRoute(r), 0
		attempts := rotate(members(configOf(route), "m", route))
		for _, targets := range route {
			var weights []uint32
			var providers []string
			for _, target := range targets {
				if target.Share() > 0 {
					weights = append(weights, uint32(target.Share()))
					providers = append(providers, "provider/"+target.Provider)
				}
			}
			for turn := range weights {
				for place, c := range attempts[at].GetClusters() {
					require.Equal(t, weights[place], c.GetWeight().GetValue())
					require.Equal(t, providers[(place+turn)%len(providers)], c.GetClusterName())
				}
				at++
			}
		}
		require.Len(t, attempts, at)
	}
}

func TestRotateLeavesOutTheWeightZero(t *testing.T) {
	zero, one := 0, 1
	route := [][]config.Target{{{Provider: "a", Weight: &zero}, {Provider: "b", Weight: &one}, {Provider: "c"}}}
	attempts := rotate(members(configOf(route), "m", route))
	require.Len(t, attempts, 2)
	for _, a := range attempts {
		require.Len(t, a.GetClusters(), 2)
		for _, c := range a.GetClusters() {
			assert.NotEqual(t, "provider/a", c.GetClusterName())
		}
	}
	assert.Equal(t, "a", route[0][0].Provider, "the configuration was written to")
}

func TestTheFirstAttemptFollowsTheWeights(t *testing.T) {
	weights := []int{70, 20, 10}
	route := [][]config.Target{{{Provider: "a", Weight: &weights[0]}, {Provider: "b", Weight: &weights[1]}, {Provider: "c", Weight: &weights[2]}}}
	first, drawn := rotate(members(configOf(route), "m", route))[0], map[string]int{}
	for number := range uint64(1000) {
		drawn[draw(first, number)]++
	}
	assert.Equal(t, map[string]int{"provider/a": 700, "provider/b": 200, "provider/c": 100}, drawn)
}

// One provider under two names is two targets, and each has its cluster.
func TestRotateKnowsATargetByItsName(t *testing.T) {
	route := [][]config.Target{{{Provider: "a", Model: "x"}, {Provider: "a", Model: "y"}, {Provider: "a"}}}
	met := map[string]bool{}
	for _, a := range rotate(members(configOf(route), "m", route)) {
		met[draw(a, 0)] = true
	}
	assert.Equal(t, map[string]bool{"provider/a=x": true, "provider/a=y": true, "provider/a": true}, met)
}
