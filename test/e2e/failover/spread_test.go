package failover_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

const sticky = `
  split: {route: [[{provider: a, weight: 90}, {provider: b, weight: 10}]]}
  user: {sticky: user, route: [[{provider: a, weight: 70}, {provider: b, weight: 30}]]}
  key: {sticky: key, route: [[{provider: a}, {provider: b}]]}
  session: {sticky: "header:X-Session-Id", route: [[{provider: a, weight: 70}, {provider: b, weight: 30}]]}
`

// notByChance is the chi-square of one degree of freedom that one draw in a thousand
// exceeds.
const notByChance = 10.83

func chi(a, b int, share float64) float64 {
	n := float64(a + b)
	d := float64(a) - n*share
	return d*d/(n*share) + d*d/(n*(1-share))
}

// TestSplit: 90 in a hundred requests meet the first provider. One sample in a thousand
// fails by chance, so there are two.
func TestSplit(t *testing.T) {
	h := open(t, "", sticky)
	found := 0.0
	for range 2 {
		counted := h.count(t.Context(), 20, 3000, "split")
		require.Len(t, counted, 2, "%v", counted)
		if found = chi(counted["a 200"], counted["b 200"], 0.9); found < notByChance {
			return
		}
		t.Logf("%v: %.1f", counted, found)
	}
	t.Errorf("the split is not by the weights: %.1f", found)
}

// TestTheSplitCanBeSeen in what Envoy says of its own configuration: each attempt, with
// the weights of those that it chooses from.
func TestTheSplitCanBeSeen(t *testing.T) {
	h := open(t, "", `
  split: {route: [[{provider: a, weight: 90}, {provider: b, weight: 10}], [{provider: c}]]}
`)
	dump, err := h.admin(t).ConfigDump(t.Context(), "dynamic_route_configs")
	require.NoError(t, err)
	var seen []string
	found := gjson.GetBytes(dump, `configs.#.route_config.virtual_hosts.0.routes|@flatten|#(name=="model/split").route`)
	for _, group := range found.Get("inline_cluster_specifier_plugin.extension.typed_config.priority_groups").Array() {
		for _, c := range group.Get("clusters").Array() {
			seen = append(seen, fmt.Sprint(group.Get("name"), " ", c.Get("cluster_name"), " ", c.Get("weight")))
		}
	}
	assert.Equal(t, []string{
		"g0 guarded/a 90", "g0 guarded/b 10", "g1 guarded/b 90", "g1 guarded/a 10", "g2 provider/c 1",
	}, seen)
}

// TestSticky: one user, key or session meets one provider, and many are split by weight.
func TestSticky(t *testing.T) {
	h := open(t, "", sticky)
	t.Run("user", func(t *testing.T) {
		met := map[string]int{}
		for i := range 400 {
			key := "Bearer " + h.key(t, fmt.Sprintf("user-%d", i))
			first := h.ask(t, "user", "Authorization", key).provider
			met[first]++
			if i < 20 {
				other := "Bearer " + h.key(t, fmt.Sprintf("user-%d", i))
				for range 5 {
					require.Equal(t, first, h.ask(t, "user", "Authorization", key).provider)
					require.Equal(t, first, h.ask(t, "user", "Authorization", other).provider, "another key of theirs")
				}
			}
		}
		assert.Less(t, chi(met["a"], met["b"], 0.7), notByChance, "%v", met)
	})
	t.Run("key", func(t *testing.T) {
		met := map[string]int{}
		for range 40 { // one in 2^39 meets one provider by chance
			key := "Bearer " + h.key(t, "one")
			first := h.ask(t, "key", "Authorization", key).provider
			met[first]++
			for range 3 {
				require.Equal(t, first, h.ask(t, "key", "Authorization", key).provider)
			}
		}
		assert.Len(t, met, 2)
	})
	t.Run("header", func(t *testing.T) {
		met := map[string]int{}
		for i := range 600 {
			session := fmt.Sprintf("session-%d", i)
			first := h.ask(t, "session", "x-session-id", session)
			met[first.provider]++
			if i < 20 {
				require.Equal(t, first.provider, h.ask(t, "session", "X-SESSION-ID", session).provider)
			}
		}
		assert.Less(t, chi(met["a"], met["b"], 0.7), notByChance, "%v", met)
	})
	t.Run("without the header", func(t *testing.T) {
		assert.Len(t, h.count(t.Context(), 10, 200, "session"), 2)
	})
	t.Run("a forged user", func(t *testing.T) {
		key := "Bearer " + h.key(t, "user-1")
		first := h.ask(t, "user", "Authorization", key).provider
		for i := range 20 {
			require.Equal(t, first, h.ask(t, "user", "Authorization", key, "x-postern-user", fmt.Sprint(i)).provider)
		}
	})
	t.Run("while it fails", func(t *testing.T) {
		for i := range 4 {
			session := fmt.Sprintf("session-%d", i)
			first := h.ask(t, "session", "x-session-id", session).provider
			failing := map[string]*fake.Server{"a": h.a, "b": h.b}[first]
			failing.Always(fake.Status(503))
			require.NotEqual(t, first, h.ask(t, "session", "x-session-id", session).provider)
			failing.Reset()
			require.Equal(t, first, h.ask(t, "session", "x-session-id", session).provider)
		}
	})
}
