package health_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// TestAMemberRests: one of a group that cannot be used gives its weight to the others at
// once.
func TestAMemberRests(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]struct {
		behavior fake.Behavior
		word     string
	}{
		"429": {fake.RateLimited(time.Hour), "limited for"},
		"503": {busy(503, "3600"), "limited for"},
		"401": {fake.Status(401), "open"},
		"408": {fake.Status(408), "open"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, "probe: 1h, open: 5m, limit_max: 5m", `
  m: {route: [[{provider: a, weight: 90}, {provider: b, weight: 10}]]}
`, "")
			h.a.ForModel("m", bad.behavior)
			l := h.load(t, "m")
			require.True(t, h.WaitOutput(`"first now"=b`, patience))
			moved := time.Now()
			require.Eventually(t, func() bool { return l.last("b 1").Sub(moved) > time.Second }, patience, glance)
			assert.Less(t, l.last("b 2").Sub(moved), 500*time.Millisecond, "nobody asks it any more")
			l.end(t)
			_, text := h.status(t)
			assert.Contains(t, text, bad.word)
		})
	}
}

// TestAMemberComesBack when it said it would.
func TestAMemberComesBack(t *testing.T) {
	t.Parallel()
	h := open(t, "probe: 1h, limit_max: 2s", `
  m: {route: [[{provider: a, weight: 90}, {provider: b, weight: 10}]]}
`, "")
	h.a.Next(1, fake.RateLimited(time.Hour))
	l := h.load(t, "m")
	require.True(t, h.WaitOutput(`"first now"=b`, patience))
	require.True(t, h.WaitOutput(`"first now"="a, b"`, patience))
	l.first(t, "a", time.Now())
	l.end(t)
}

// busy is an answer that says when to come again.
func busy(status int, after string) fake.Behavior {
	b := fake.Status(status)
	b.Header = http.Header{"Retry-After": {after}}
	return b
}

// TestWhoSticksStays: a member that rests moves its own users and nobody else's.
func TestWhoSticksStays(t *testing.T) {
	t.Parallel()
	h := open(t, "probe: 1h", `
  m: {sticky: "header:X-Session", route: [[{provider: a, weight: 5}, {provider: b, weight: 3}, {provider: quiet, weight: 2}]]}
`, "")
	whose := func() map[string]string {
		at := map[string]string{}
		for i := range 60 {
			session := fmt.Sprint("session-", i)
			got := h.askWith(t.Context(), "m", "X-Session", session)
			require.Equal(t, http.StatusOK, got.status, got.text)
			at[session] = got.from()
		}
		return at
	}
	before := whose()
	h.a.ForModel("m", fake.RateLimited(time.Hour))
	require.Eventually(t, func() bool {
		h.ask(t.Context(), "m")
		return strings.Contains(h.Output(), `"first now"="b, quiet"`)
	}, patience, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		for session, from := range whose() {
			if !strings.HasPrefix(before[session], "a") && from != before[session] || strings.HasPrefix(from, "a") || strings.HasSuffix(from, "2") {
				return false
			}
		}
		return true
	}, patience, 50*time.Millisecond)
	counted := map[string]int{}
	for session, from := range whose() {
		if strings.HasPrefix(before[session], "a") {
			counted[from]++
		}
	}
	assert.Len(t, counted, 2, "both have some of its users")
}

// TestFewFailuresAmongLongStreams: while long answers go on, five that fail in a row are
// not all.
func TestFewFailuresAmongLongStreams(t *testing.T) {
	t.Parallel()
	h := open(t, "probe: 1h", `
  m: {route: [[{provider: a}], [{provider: b}]]}
`, "")
	hold := make(chan struct{})
	h.a.Always(fake.Behavior{Gate: hold})
	ctx, leave := context.WithCancel(t.Context())
	var streams sync.WaitGroup
	stream := func() {
		response, err := h.send(ctx, `{"model":"m","stream":true,"messages":[{"role":"user","content":"one two"}]}`)
		require.NoError(t, err)
		streams.Go(func() {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		})
	}
	var asking sync.WaitGroup
	for range 6 {
		asking.Go(func() {
			for range 25 {
				stream()
				time.Sleep(100 * time.Millisecond) // the rate of requests
			}
		})
	}
	for range 10 {
		h.a.Next(1, fake.Status(408))
		time.Sleep(250 * time.Millisecond)
	}
	asking.Wait()
	all, _ := h.status(t)
	assert.Equal(t, "timeout", all.of(t, "a", "m").Error)
	assert.Equal(t, "closed", all.of(t, "a", "m").State)
	assert.NotContains(t, h.Output(), "the order of providers changed")

	// And where all fail, it is seen though none of the streams has ended.
	h.a.Always(fake.Status(408))
	failed := time.Now()
	l := h.load(t, "m")
	l.first(t, "b", failed)
	assert.Less(t, l.last("b 2").Sub(failed), 2*soon, "not when the streams end, which is never")
	l.end(t)
	close(hold)
	leave()
	streams.Wait()
}
