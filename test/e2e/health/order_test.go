package health_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// outage is longer than Envoy itself leaves a provider alone.
const outage = 7 * time.Second

// TestTheBestIsFirst: with prefer: cost the cheaper provider gets the traffic, with
// prefer: latency the faster, which is found out. It loses it when it fails, and gets it
// back when it works. It runs by itself: how long that takes is what it is about.
func TestTheBestIsFirst(t *testing.T) {
	for name, c := range map[string]struct {
		fail   func(*fake.Server)
		waited time.Duration // for a first byte, before it is a failure
	}{
		"refused": {func(s *fake.Server) { s.Refuse() }, 0},
		"503":     {func(s *fake.Server) { s.Always(fake.Status(503)) }, 0},
		"stalled": {func(s *fake.Server) { s.Always(fake.NoAnswer(fake.Stall)) }, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, "probe: 1s, probe_timeout: 1s", fmt.Sprintf(`
  cheap: {route: [[{provider: a}], [{provider: b}]], prefer: cost, timeouts: {first_byte: %[1]s}}
  fast: {route: [[{provider: a}], [{provider: b}]], prefer: latency, timeouts: {first_byte: %[1]s}}
`, cmp.Or(c.waited, 10*time.Second)), `prices: {a/cheap: {input: 2.5, output: 10}, b/cheap: {input: 0.15, output: 0.6}}`)
			require.Equal(t, "b 1", h.ask(t.Context(), "cheap").from(), "from the first request on")
			h.a.ForModel("fast", fake.Behavior{FirstByteDelay: 60 * time.Millisecond})
			fast, cheap := h.load(t, "fast"), h.load(t, "cheap")
			// Once to be measured, and then because it is faster.
			require.Eventually(t, func() bool { return strings.Count(h.Output(), `"such as"=fast "first now"=b`) == 2 }, patience, glance)
			all, _ := h.status(t)
			assert.Equal(t, map[string][]string{"cheap": {"b", "a"}, "fast": {"b", "a"}}, all.Order)
			assert.Greater(t, all.of(t, "a", "fast").FirstByte, 55.0)
			assert.Less(t, all.of(t, "b", "fast").FirstByte, all.of(t, "a", "fast").FirstByte)
			require.Equal(t, "good", all.of(t, "b", "").Probe.Result, "before it fails, it has shown that it can be probed")

			c.fail(h.b)
			failed := time.Now()
			cheapLost, fastLost := cheap.first(t, "a", failed), fast.first(t, "a", failed)
			assert.Less(t, max(cheapLost, fastLost), soon)
			all, text := h.status(t)
			assert.Equal(t, "open", all.of(t, "b", "cheap").State)
			assert.Equal(t, "open", all.of(t, "b", "fast").State)
			assert.Contains(t, text, "open")
			require.Eventually(t, func() bool { return time.Since(failed) > outage }, patience, glance)
			for _, l := range []*traffic{cheap, fast} {
				assert.Less(t, l.last("a 2").Sub(failed), soon, "nobody is sent to the one that fails any more, not to see whether it is well either")
			}

			h.b.Reset()
			_ = h.b.Resume() // it may never have stopped
			mended := time.Now()
			cheapBack, fastBack := cheap.first(t, "b", mended), fast.first(t, "b", mended)
			t.Logf("cheap: lost after %s, back after %s; fast: lost after %s, back after %s", cheapLost, cheapBack, fastLost, fastBack)
			assert.Less(t, max(cheapBack, fastBack), probed+noticed)
			cheap.end(t)
			fast.end(t)
		})
	}
}

// TestAChangeKeepsTheOrder that follows from what is known, and follows new prices.
func TestAChangeKeepsTheOrder(t *testing.T) {
	t.Parallel()
	models := func(total string) string {
		return "  m: {route: [[{provider: a}], [{provider: b}]], prefer: cost}\n  other: {route: [[{provider: a}]], timeouts: {total: " + total + "}}"
	}
	const cheapB = "prices: {a/m: {input: 2.5, output: 10}, b/m: {input: 0.15, output: 0.6}}"
	const cheapA = "prices: {a/m: {input: 0.1, output: 0.1}, b/m: {input: 0.15, output: 0.6}}"
	h := open(t, "open: 1m, open_max: 1m", models("1m"), cheapB)
	l := h.load(t, "m")
	l.first(t, "b", time.Now())
	h.Write(t, h.document(models("1m"), cheapA))
	l.first(t, "a", time.Now())
	h.Write(t, h.document(models("1m"), cheapB))
	l.first(t, "b", time.Now())
	// b is out of use; what has nothing to do with it does not bring it back.
	h.b.ForModel("m", fake.Status(503))
	l.first(t, "a", time.Now())
	require.Eventually(t, func() bool { return strings.Count(h.Output(), "configuration changed") == 2 }, patience, glance)
	chats := func() int {
		return len(slices.DeleteFunc(h.b.Requests(), func(r fake.Request) bool { return r.Path != "/v1/chat/completions" }))
	}
	asked := chats()
	for i := range 3 {
		h.Write(t, h.document(models([]string{"2m", "3m", "4m"}[i]), cheapB))
		require.Eventually(t, func() bool { return strings.Count(h.Output(), "configuration changed") == 3+i }, patience, glance)
		l.first(t, "a", time.Now())
	}
	require.Never(t, func() bool { return chats() > asked }, time.Second, 50*time.Millisecond)
	l.end(t)
}
