package health_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// TestAllDown: the least bad is still asked, the client is told clearly, and the first
// that works again answers at once.
func TestAllDown(t *testing.T) {
	t.Parallel()
	h := open(t, "probe: 1h, open: 1m, open_max: 1m", `
  m: {route: [[{provider: a}], [{provider: b}]]}
`, "")
	h.a.Always(fake.Status(503))
	h.b.Always(fake.Status(500))
	opened := func(provider string) bool { return h.state(t, provider, "m", "open") }
	require.Eventually(t, func() bool {
		got := h.ask(t.Context(), "m")
		require.NoError(t, got.err)
		require.GreaterOrEqual(t, got.status, 500)
		assert.NotEmpty(t, gjson.Get(got.text, "error.message").String(), got.text)
		assert.NotEmpty(t, gjson.Get(got.text, "error.type").String(), got.text)
		return opened("a") && opened("b")
	}, patience, 20*time.Millisecond)
	all, _ := h.status(t)
	assert.Equal(t, "5xx", all.of(t, "a", "m").Error)

	seen := h.a.Counts().Requests + h.b.Counts().Requests
	got := h.ask(t.Context(), "m")
	assert.GreaterOrEqual(t, got.status, 500)
	assert.NotEmpty(t, got.header.Get("X-Should-Retry"))
	assert.Greater(t, h.a.Counts().Requests+h.b.Counts().Requests, seen, "somebody is asked all the same")

	// What is tried first is whoever may be tried first; the last attempt goes to whom
	// nobody ejects.
	h.a.Reset()
	h.b.Reset()
	require.Eventually(t, func() bool { return h.ask(t.Context(), "m").status == http.StatusOK }, patience, glance)
	for range 5 {
		assert.Equal(t, http.StatusOK, h.ask(t.Context(), "m").status)
	}
}

// TestOnlyThisModelIsDown: one broken model takes no others with it.
func TestOnlyThisModelIsDown(t *testing.T) {
	t.Parallel()
	h := open(t, "probe: 1s, open: 1m, open_max: 1m", `
  m: {route: [[{provider: a}], [{provider: b}]]}
  n: {route: [[{provider: a}], [{provider: b}]]}
`, "")
	h.a.ForModel("m", fake.Status(500))
	m := h.load(t, "m")
	m.first(t, "b", time.Now())
	all, _ := h.status(t)
	assert.Equal(t, "open", all.of(t, "a", "m").State)
	assert.Equal(t, "closed", all.of(t, "a", "n").State)
	assert.Equal(t, "closed", all.of(t, "a", "").State)
	m.end(t)
	assert.Contains(t, []string{"a 1", "b 2"}, h.ask(t.Context(), "n").from(), "a first, unless Envoy leaves its address alone")
}

// TestRetryAfter: who says 429 is left alone at once, for as long as it asks and not for
// years.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]string{"a year": "31536000", "too much": "1e99", "a date": "Fri, 31 Dec 2999 23:59:59 GMT"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, "probe: 1h, limit_max: 8s", `
  m: {route: [[{provider: a}], [{provider: b}]]}
`, "")
			busy := fake.Status(http.StatusTooManyRequests)
			busy.Header = http.Header{"Retry-After": {after}}
			h.a.Next(1, busy)
			start := time.Now()
			l := h.load(t, "m")
			l.first(t, "b", time.Now())
			assert.Less(t, time.Since(start), 2*soon)
			all, text := h.status(t)
			left := time.Until(all.of(t, "a", "m").LimitedUntil)
			assert.True(t, left > 0 && left <= 8*time.Second, left)
			assert.Equal(t, "closed", all.of(t, "a", "m").State, "it is there")
			assert.Contains(t, text, "limited for")
			assert.Contains(t, text, "429")
			l.first(t, "a", time.Now())
			assert.InDelta(t, 8, time.Since(start).Seconds(), 3)
			l.end(t)
		})
	}
}

// TestWhatIsNoEvidence: a client's mistakes and departures do not speak against a
// provider.
func TestWhatIsNoEvidence(t *testing.T) {
	t.Parallel()
	h := open(t, "probe: 1h, failures: 2", `
  m: {route: [[{provider: a}], [{provider: b}]]}
`, "")
	h.a.Always(fake.Status(400))
	for range 10 {
		require.Equal(t, 400, h.ask(t.Context(), "m").status)
	}
	h.a.Reset()
	h.a.Always(fake.Behavior{EventDelay: time.Hour})
	for range 4 {
		response, err := h.send(t.Context(), `{"model":"m","stream":true,"messages":[{"role":"user","content":"one two three"}]}`)
		require.NoError(t, err)
		_ = response.Body.Close() // gone
	}
	h.a.Reset()
	require.Eventually(t, func() bool {
		return strings.Contains(h.metrics(t), `postern_provider_state{key="",model="m",provider="a",state="closed"} 1`)
	}, patience, glance)
	require.Never(t, func() bool { return h.ask(t.Context(), "m").from() != "a 1" }, 1500*time.Millisecond, 50*time.Millisecond)
}

// TestAStreamGoesOn while the order of its route changes and changes again.
func TestAStreamGoesOn(t *testing.T) {
	t.Parallel()
	h := open(t, "probe: 1s, limit_max: 200ms", `
  m: {route: [[{provider: a}], [{provider: b}]]}
`, "")
	hold := make(chan struct{})
	h.a.Next(1, fake.Behavior{Gate: hold, Content: strings.Repeat("word ", 20)})
	response, err := h.send(t.Context(), `{"model":"m","stream":true,"messages":[{"role":"user","content":"one"}]}`)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, "a", response.Header.Get("X-Postern-Provider"))
	events := bufio.NewReader(response.Body)
	_, err = events.ReadString('\n')
	require.NoError(t, err)

	l := h.load(t, "m")
	const turns = 5
	for range turns {
		h.a.Always(fake.RateLimited(time.Hour))
		l.first(t, "b", time.Now())
		h.a.Reset()
		l.first(t, "a", time.Now())
	}
	l.end(t)
	assert.GreaterOrEqual(t, strings.Count(h.Output(), "the order of providers changed"), 2*turns)
	close(hold)
	rest, err := io.ReadAll(events)
	require.NoError(t, err)
	assert.Contains(t, string(rest), "[DONE]")
}

// TestStatusTellsAll that is known of each provider, in 80 columns.
func TestStatusTellsAll(t *testing.T) {
	t.Parallel()
	h := open(t, "probe: 1s", `
  m: {route: [[{provider: a}], [{provider: b}]]}
  a-model-with-a-name-that-has-no-end-and-goes-on-and-on: {route: [[{provider: a, model: its-own-name-is-no-shorter-than-the-other}]]}
`, "")
	require.Equal(t, http.StatusOK, h.ask(t.Context(), "m").status)
	h.b.Refuse()
	var all status
	var text string
	require.Eventually(t, func() bool {
		all, text = h.status(t)
		a, b := all.of(t, "a", ""), all.of(t, "b", "")
		return a.Probe != nil && a.Probe.Result == "good" && a.FirstByte > 0 && b.State == "open" && b.Error == "refused" &&
			strings.Contains(text, "access log     complete") // after a reading
	}, patience, 50*time.Millisecond)
	assert.Equal(t, h.Metrics, all.Metrics)
	assert.Contains(t, text, "http://"+h.Metrics+"/metrics")
	for line := range strings.SplitSeq(text, "\n") {
		assert.LessOrEqual(t, len([]rune(line)), 80, line)
	}
	for _, word := range []string{"PROVIDER", "probe good", "probe refused", "retry in", "closed", "open", "access log"} {
		assert.Contains(t, text, word)
	}
	t.Log("\n" + text)
	metrics := h.metrics(t)
	for _, word := range []string{`postern_provider_state{key="",model="",provider="b",state="open"} 1`, "postern_provider_first_byte_seconds"} {
		assert.Contains(t, metrics, word)
	}
}

// TestProbesCanBeOff, for a provider that counts every request.
func TestProbesCanBeOff(t *testing.T) {
	t.Parallel()
	h := open(t, "probe: 100ms", `
  m: {route: [[{provider: b}], [{provider: quiet}]]}
`, "")
	asked := func(s *fake.Server) int {
		n := 0
		for _, r := range s.Requests() {
			if r.Path == "/v1/models" {
				n++
				assert.Equal(t, []string{"Bearer " + secret}, r.Values("Authorization"))
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return asked(h.b) >= 3 }, patience, glance)
	assert.Zero(t, asked(h.quiet))
}
