package failover_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

const inTurn = `
  pair: {route: [[{provider: a}], [{provider: b}]], timeouts: {first_byte: 300ms}}
  back: {route: [[{provider: b}], [{provider: a}]], timeouts: {first_byte: 300ms}}
  alone: {route: [[{provider: a}]], timeouts: {first_byte: 300ms}}
`

// ejections is how many hosts of the first provider are left alone.
const ejections = "cluster.provider/a.outlier_detection.ejections_active"

// TestBreaker: a provider that fails in a row is left alone for a while, and is then
// asked again.
func TestBreaker(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail func(*house)
		most int // requests that it still sees
	}{
		"503":      {func(h *house) { h.a.Always(fake.Status(503)) }, 5},
		"429":      {func(h *house) { h.a.Always(fake.Status(429)) }, 10},
		"401":      {func(h *house) { h.a.Always(fake.Status(401)) }, 10},
		"500":      {func(h *house) { h.a.Always(fake.Status(500)) }, 10},
		"reset":    {func(h *house) { h.a.Always(fake.NoAnswer(fake.Reset)) }, 10},
		"hang up":  {func(h *house) { h.a.Always(fake.NoAnswer(fake.Close)) }, 10},
		"silence":  {func(h *house) { h.a.Always(fake.NoAnswer(fake.Stall)) }, 5},
		"refusing": {func(h *house) { h.a.Refuse() }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, "", inTurn)
			c.fail(h)
			ejected := func() bool { return h.stat(t, ejections) == 1 }
			require.False(t, ejected())
			for range c.most {
				got := h.ask(t, "pair")
				require.Equal(t, "b 200", fmt.Sprint(got.provider, " ", got.status), got.text)
			}
			require.Eventually(t, ejected, patience, glance)
			h.a.Reset()
			start := time.Now()
			for range 20 {
				require.Equal(t, "b", h.ask(t, "pair").provider)
			}
			assert.Less(t, time.Since(start)/20, 100*time.Millisecond, "a provider left alone costs no time")
			assert.Zero(t, h.a.Counts().Requests)
			require.NoError(t, h.a.Resume())
			assert.Equal(t, "a", h.ask(t, "alone").provider, "who has no other is not left alone")
			require.Eventually(t, func() bool { return h.ask(t, "pair").provider == "a" }, patience, 50*time.Millisecond)
		})
	}
}

// TestBreakerUnderLoad: requests that start while others time out do not keep a silent
// provider alive.
func TestBreakerUnderLoad(t *testing.T) {
	t.Parallel()
	h := open(t, "", `
  slow: {route: [[{provider: a}], [{provider: b}]], timeouts: {first_byte: 1s}}
`)
	h.a.Always(fake.NoAnswer(fake.Stall))
	assert.Equal(t, map[string]int{"b 200": 400}, h.count(t.Context(), 20, 400, "slow"))
	assert.Less(t, h.a.Counts().Requests, 100)
}

// TestBreakerKnowsWhatIsNoFailure: what a client gets as it is was the client's doing, and
// ends a row of failures.
func TestBreakerKnowsWhatIsNoFailure(t *testing.T) {
	t.Parallel()
	h := open(t, "", inTurn)
	for _, status := range []int{400, 404, 413, 422} {
		h.a.Always(fake.Status(status))
		for range 15 {
			require.Equal(t, status, h.ask(t, "pair").status)
		}
		assert.Zero(t, h.stat(t, ejections), status)
	}
	for range 3 {
		h.a.Next(9, fake.Status(429))
		for range 10 { // the last is answered
			h.ask(t, "pair")
		}
		h.a.Reset()
		require.Equal(t, "a", h.ask(t, "pair").provider)
	}
	assert.Zero(t, h.stat(t, ejections), "busy now and then")
}

// TestTheLastIsAlwaysAsked, whatever was seen of it: a provider that may fail is better
// than none.
func TestTheLastIsAlwaysAsked(t *testing.T) {
	t.Parallel()
	h := open(t, "", strings.ReplaceAll(inTurn, "300ms", "10s"))
	h.a.Always(fake.Status(503))
	h.b.Always(fake.Status(503))
	for _, model := range []string{"pair", "back"} {
		for got := range h.count(t.Context(), 10, 200, model) {
			assert.Contains(t, []string{"a 503", "b 503"}, got)
		}
	}
	require.Equal(t, 1, h.stat(t, ejections))
	h.a.Reset()
	h.b.Reset()
	for _, model := range []string{"pair", "back", "alone"} {
		assert.Equal(t, http.StatusOK, h.ask(t, model).status, "good again, and at once")
	}
}

// TestStorm: when every provider fails, nobody gets more requests than clients send.
func TestStorm(t *testing.T) {
	t.Parallel()
	for _, status := range []int{503, 429, 401} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			h := open(t, "", `
  trio: {route: [[{provider: a}, {provider: b}], [{provider: c}]]}
`)
			for _, s := range []*fake.Server{h.a, h.b, h.c} {
				s.Always(fake.Status(status))
			}
			const n = 1000
			told := status
			if status == http.StatusUnauthorized { // of the gate's own key
				told = http.StatusBadGateway
			}
			for got := range h.count(t.Context(), 100, n, "trio") {
				assert.Contains(t, []string{fmt.Sprint("a ", told), fmt.Sprint("b ", told), fmt.Sprint("c ", told)}, got)
			}
			a, b, c := h.a.Counts().Requests, h.b.Counts().Requests, h.c.Counts().Requests
			t.Logf("%d requests made %d attempts: %d, %d, %d", n, a+b+c, a, b, c)
			assert.Less(t, a+b+c, n*4/3)
			assert.GreaterOrEqual(t, a+b+c, n)
		})
	}
}
