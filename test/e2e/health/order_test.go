package health_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// outage is longer than Envoy itself leaves a provider alone.
const outage = 7 * time.Second

// TestTheCheaperIsFirst: with prefer: cost it gets the traffic, loses it when it fails,
// and gets it back.
func TestTheCheaperIsFirst(t *testing.T) {
	t.Parallel()
	for name, fail := range failures() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, "probe: 1s, probe_timeout: 500ms", `
  m: {route: [[{provider: a}], [{provider: b}]], prefer: cost, timeouts: {first_byte: 300ms}}
`, `prices: {a/m: {input: 2.5, output: 10}, b/m: {input: 0.15, output: 0.6}}`)
			require.Equal(t, "b 1", h.ask(t.Context(), "m").from(), "from the first request on")
			goesAndComes(t, h, fail)
		})
	}
}

// TestTheFasterIsFirst: the same with prefer: latency, which finds out by itself.
func TestTheFasterIsFirst(t *testing.T) {
	t.Parallel()
	for name, fail := range failures() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, "probe: 1s, probe_timeout: 500ms", `
  m: {route: [[{provider: a}], [{provider: b}]], prefer: latency, timeouts: {first_byte: 300ms}}
`, "")
			h.a.ForModel("m", fake.Behavior{FirstByteDelay: 60 * time.Millisecond})
			l := h.load(t, "m")
			// Once to be measured, and then because it is faster.
			require.Eventually(t, func() bool { return strings.Count(h.Output(), `"first now"=b`) == 2 }, patience, glance)
			l.end(t)
			all, _ := h.status(t)
			assert.Equal(t, []string{"b", "a"}, all.Order["m"])
			assert.Greater(t, all.of(t, "a", "m").FirstByte, 55.0)
			assert.Less(t, all.of(t, "b", "m").FirstByte, 55.0)
			goesAndComes(t, h, fail)
		})
	}
}

// goesAndComes: b has the traffic, fails, and works again.
func goesAndComes(t *testing.T, h *house, fail func(*fake.Server)) {
	t.Helper()
	// Before it fails, it has shown that it can be probed.
	require.Eventually(t, func() bool {
		all, _ := h.status(t)
		probe := all.of(t, "b", "").Probe
		return probe != nil && probe.Result == "good"
	}, patience, 50*time.Millisecond)
	l := h.load(t, "m")
	l.first(t, "b")
	fail(h.b)
	failed := time.Now()
	lost := l.first(t, "a")
	assert.Less(t, lost, soon)
	all, text := h.status(t)
	assert.Equal(t, "open", all.of(t, "b", "m").State)
	assert.Contains(t, text, "open")
	require.Eventually(t, func() bool { return time.Since(failed) > outage }, patience, glance)
	mend(t, h.b)
	back := l.first(t, "b")
	t.Logf("lost after %s, back after %s", lost.Round(time.Millisecond), back.Round(time.Millisecond))
	assert.Less(t, back, probed+noticed)
	l.end(t)
}
