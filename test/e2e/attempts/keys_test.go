package attempts_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/test/matrix"
)

// TestKeys: the weights share the requests out, and what one key is refused is tried
// with the next, before another provider is asked.
func TestKeys(t *testing.T) {
	open, strict, last := fake.Start(t), fake.Start(t, fake.WithKey("good")), fake.Start(t)
	g := gate.Start(t, gate.Settings{
		Env: []string{"A=key-a", "B=key-b", "BAD=bad", "GOOD=good"},
		Config: fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {probe: off, breakers: off}
providers:
  open: {schema: openai, url: "%s/v1", keys: [{key: "${A}", weight: 3}, {key: "${B}"}, {key: "${UNSET}", weight: 100}]}
  strict: {schema: openai, url: "%s/v1", keys: [{key: "${BAD}", weight: 1000}, {key: "${GOOD}"}]}
  none: {schema: openai, url: "%s/v1", keys: [{key: "${UNSET}"}]}
  last: {schema: openai, url: "%s/v1"}
models:
  open: {route: [[{provider: open}]]}
  strict: {route: [[{provider: strict}], [{provider: last}]]}
  none: {route: [[{provider: none}], [{provider: last}]]}
default_provider: strict
`, open.URL(), strict.URL(), open.URL(), last.URL()),
	})
	t.Run("by weight", func(t *testing.T) {
		const n = 600
		c := matrix.NewCaller(t, g)
		counted := map[string]int{}
		for range n {
			response, text := c.Post(t, "/v1/chat/completions", "x", `{"model":"open","messages":[]}`)
			require.Equal(t, http.StatusOK, response.StatusCode, text)
			require.Equal(t, []string{"open"}, response.Header["X-Postern-Provider"])
			counted[open.Last().Values("Authorization")[0]]++
		}
		require.Equal(t, n, counted["Bearer key-a"]+counted["Bearer key-b"], "%v", counted)
		off := float64(counted["Bearer key-a"]) - n*0.75
		assert.Less(t, off*off/(n*0.75)+off*off/(n*0.25), 23.9, "%v: a chi-square bound of one in a million", counted)
	})
	t.Run("a refused key", func(t *testing.T) {
		for range 5 {
			response, text := g.Chat(t.Context(), t, "strict")
			require.Equal(t, http.StatusOK, response.StatusCode, text)
			require.Equal(t, []string{"strict"}, response.Header["X-Postern-Provider"])
			require.Equal(t, []string{"Bearer good"}, strict.Last().Values("Authorization"))
		}
		assert.Zero(t, last.Counts().Requests)
		assert.Greater(t, strict.Counts().Requests, 5, "the key of the larger weight was tried")
	})
	t.Run("all keys refused", func(t *testing.T) {
		strict.Reset()
		strict.Always(fake.RateLimited(0))
		response, text := g.Chat(t.Context(), t, "strict")
		require.Equal(t, http.StatusOK, response.StatusCode, text)
		assert.Equal(t, []string{"last"}, response.Header["X-Postern-Provider"])
		assert.Equal(t, 2, strict.Counts().Requests, "each key once")
		assert.Empty(t, last.Last().Values("Authorization"))
		strict.Reset()
	})
	t.Run("no key has a value", func(t *testing.T) {
		response, text := g.Chat(t.Context(), t, "none")
		require.Equal(t, http.StatusOK, response.StatusCode, text)
		assert.Equal(t, []string{"last"}, response.Header["X-Postern-Provider"])
	})
	t.Run("other endpoints", func(t *testing.T) {
		response, text := g.Request(t.Context(), t, http.MethodGet, "/v1/files", "")
		require.Equal(t, http.StatusOK, response.StatusCode, text)
		assert.Equal(t, []string{"Bearer good"}, strict.Last().Values("Authorization"))
	})
}

// TestKeysAndBreakers: what one key is refused takes neither the other nor the provider
// from anybody, and that key is not tried any more.
func TestKeysAndBreakers(t *testing.T) {
	t.Parallel()
	for name, behavior := range map[string]fake.Behavior{"refused": fake.Status(401), "limited": fake.RateLimited(time.Hour)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			provider, last := fake.Start(t), fake.Start(t)
			provider.ForKey("bad", behavior)
			g := gate.Start(t, gate.Settings{
				Env: []string{"BAD=bad", "GOOD=good"},
				Config: fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {probe: 500ms, open: 5m, open_max: 5m}
providers:
  p: {schema: openai, url: "%s/v1", keys: [{key: "${BAD}", weight: 9}, {key: "${GOOD}"}]}
  last: {schema: openai, url: "%s/v1"}
models:
  m: {route: [[{provider: p}], [{provider: last}]]}
`, provider.URL(), last.URL()),
			})
			ask := func() (attempts string) {
				response, text := g.Chat(t.Context(), t, "m")
				require.Equal(t, http.StatusOK, response.StatusCode, text)
				require.Equal(t, []string{"p"}, response.Header["X-Postern-Provider"])
				return response.Header.Get("X-Postern-Attempts")
			}
			require.Eventually(t, func() bool {
				ask()
				return strings.Contains(g.Output(), "resting=1")
			}, 30*time.Second, 20*time.Millisecond)
			asked := func() (n int) {
				for _, r := range provider.Requests() {
					if r.Path == "/v1/chat/completions" && r.Values("Authorization")[0] == "Bearer bad" {
						n++
					}
				}
				return n
			}
			for once := 0; once < 9; { // with that many by chance, were it still tried first
				if once++; ask() != "1" {
					once = 0
				}
			}
			// While probes find the good key, and are given the list with the other too.
			before := asked()
			for start := time.Now(); time.Since(start) < 1500*time.Millisecond; {
				require.Equal(t, "1", ask())
			}
			assert.Equal(t, before, asked())
			assert.Equal(t, 1, strings.Count(g.Output(), "the order of providers changed"), "nothing flaps")
			assert.Zero(t, last.Counts().Requests-probes(last))
		})
	}
}

// probes are the questions for a list of models.
func probes(s *fake.Server) (n int) {
	for _, r := range s.Requests() {
		if r.Path == "/v1/models" {
			n++
		}
	}
	return n
}
