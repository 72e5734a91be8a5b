package failover_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// TestKilledUnderLoad: 200 clients, 10,000 requests, and a provider that dies in their
// midst. Nobody who had no answer yet sees an error, and what looks complete is.
func TestKilledUnderLoad(t *testing.T) {
	h := openWith(t, "health: {}", "", `
  three: {route: [[{provider: a}], [{provider: b}], [{provider: c}]]}
`)
	const clients, n = 200, 10_000
	var done, broken, lost, byOthers atomic.Int64
	h.many(t.Context(), clients, n, "three", func(got answer) {
		if done.Add(1) == n/4 {
			h.a.Refuse()
			h.a.Drop()
		}
		switch {
		case !got.begun || got.status != http.StatusOK:
			lost.Add(1)
			t.Errorf("an answer that had not begun: %d %s %v", got.status, got.text, got.err)
		case got.err != nil:
			broken.Add(1)
		default:
			assert.True(t, strings.HasSuffix(got.text, "}"), "an answer that looks complete: %s", got.text)
		}
		if got.provider != "a" {
			byOthers.Add(1)
		}
	})
	t.Logf("lost %d, broken off %d, answered by others %d", lost.Load(), broken.Load(), byOthers.Load())
	assert.Zero(t, lost.Load())
	assert.Greater(t, byOthers.Load(), int64(n/2))
	assert.Less(t, h.c.Counts().Requests, n/100, "the second works")
}

// TestStartedStreams: what began and was cut does not look as if it had ended.
func TestStartedStreams(t *testing.T) {
	h := open(t, "", `
  pair: {route: [[{provider: a}], [{provider: b}]]}
`)
	hold := make(chan struct{})
	h.a.Always(fake.Behavior{Gate: hold, Content: strings.Repeat("word ", 50)})
	const n = 50
	var group, begun sync.WaitGroup
	begun.Add(n)
	for range n {
		group.Go(func() {
			response, err := h.stream(t.Context(), "pair")
			if err != nil {
				begun.Done()
				t.Errorf("no stream began: %v", err)
				return
			}
			defer response.Body.Close()
			if _, err = io.ReadFull(response.Body, make([]byte, 64)); err != nil {
				t.Errorf("a stream without its first event: %v", err)
			}
			begun.Done()
			rest, err := io.ReadAll(response.Body)
			if err == nil || strings.Contains(string(rest), "[DONE]") {
				t.Errorf("a stream that was cut looks complete: %v", err)
			}
		})
	}
	begun.Wait()
	require.Empty(t, h.b.Requests())
	h.a.Drop()
	group.Wait()
	assert.Empty(t, h.b.Requests(), "what has begun is not begun again")
}

// TestStreamsThatStall end when the answer was silent for too long, before the time for a
// first byte is over and after, and do not look as if they were whole. They are not begun
// again elsewhere.
func TestStreamsThatStall(t *testing.T) {
	t.Parallel()
	h := open(t, "", `
  early: {route: [[{provider: a}], [{provider: b}]], timeouts: {first_byte: 1s, idle: 1500ms}}
  late: {route: [[{provider: a}], [{provider: b}]], timeouts: {first_byte: 300ms, idle: 500ms}}
  alone: {route: [[{provider: a}]], timeouts: {first_byte: 300ms, idle: 500ms}}
`)
	for _, model := range []string{"early", "late", "alone"} {
		h.a.Always(fake.CutStream(fake.Stall, 2))
		if model == "late" {
			late := fake.CutStream(fake.Stall, 3)
			late.EventDelay = 250 * time.Millisecond
			h.a.Always(late)
		}
		start := time.Now()
		response, err := h.stream(t.Context(), model)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, response.StatusCode)
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		require.Error(t, err, "it was cut: %s", text)
		assert.Contains(t, string(text), "data: ", "what there was of it")
		assert.NotContains(t, string(text), "[DONE]")
		assert.Greater(t, time.Since(start), 400*time.Millisecond)
		assert.Less(t, time.Since(start), 20*time.Second, model)
	}
	assert.Zero(t, h.b.Counts().Requests)
}

// stream begins a stream.
func (h *house) stream(ctx context.Context, model string) (*http.Response, error) {
	body := strings.TrimSuffix(chat(model), "}") + `,"stream":true}`
	return h.Send(ctx, h.client, "/v1/chat/completions", body)
}

// TestWeightsMove: 90/10 becomes 50/50 by an edit of the file, within two seconds and
// without a connection lost.
func TestWeightsMove(t *testing.T) {
	split := func(a, b string) string {
		return "  split: {route: [[{provider: a, weight: " + a + "}, {provider: b, weight: " + b + "}]]}\n"
	}
	h := open(t, "", split("90", "10"))
	var dials atomic.Int64
	h.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group sync.WaitGroup
	var a, b atomic.Int64
	const clients = 8
	for range clients {
		group.Go(func() {
			for ctx.Err() == nil {
				got := h.post(t.Context(), chat("split"))
				if got.err != nil || got.status != http.StatusOK {
					t.Errorf("%d %s %v", got.status, got.text, got.err)
				}
				if got.provider == "a" {
					a.Add(1)
				} else {
					b.Add(1)
				}
			}
		})
	}
	share := func() float64 {
		beforeA, beforeB := a.Load(), b.Load()
		require.Eventually(t, func() bool { return a.Load()+b.Load() > beforeA+beforeB+300 }, patience, glance)
		inA, inB := float64(a.Load()-beforeA), float64(b.Load()-beforeB)
		return inB / (inA + inB)
	}
	assert.InDelta(t, 0.1, share(), 0.07)
	h.Write(t, h.document("", split("50", "50")))
	start := time.Now()
	require.Eventually(t, func() bool { return share() > 0.38 }, patience, time.Millisecond)
	took := time.Since(start)
	t.Logf("moved after %s", took)
	assert.Less(t, took, 2*time.Second)
	assert.InDelta(t, 0.5, share(), 0.15)
	stop()
	group.Wait()
	assert.EqualValues(t, clients, dials.Load(), "connections")
}

// TestProviderTakenOut: a provider is taken out of a route, and out of the
// configuration, while its requests run.
func TestProviderTakenOut(t *testing.T) {
	h := open(t, `  d: {schema: openai, builtin: demo}`, `
  pair: {route: [[{provider: a}, {provider: c}], [{provider: b}]]}
`)
	hold := make(chan struct{})
	h.c.Always(fake.Behavior{FirstByteDelay: 20 * time.Millisecond})
	h.a.Next(1, fake.Behavior{Gate: hold})
	var running *http.Response
	for running == nil { // until one is a's
		response, err := h.stream(t.Context(), "pair")
		require.NoError(t, err)
		if response.Header.Get("X-Postern-Provider") == "a" {
			running = response
			break
		}
		response.Body.Close()
	}
	defer running.Body.Close()
	without := strings.Replace(h.document("", `
  pair: {route: [[{provider: b}]]}
`), `  a: {schema`, `  unused: {schema`, 1)
	var done atomic.Int64
	h.many(t.Context(), 50, 4000, "pair", func(got answer) {
		if done.Add(1) == 1000 {
			h.Write(t, without)
		}
		assert.True(t, got.err == nil && got.status == http.StatusOK, "%d %s %v", got.status, got.text, got.err)
	})
	require.Eventually(t, func() bool {
		for range 20 {
			if h.ask(t, "pair").provider != "b" {
				return false
			}
		}
		return true
	}, patience, glance)
	close(hold)
	text, err := io.ReadAll(running.Body)
	require.NoError(t, err, "what began before runs to its end")
	assert.Contains(t, string(text), "[DONE]")
}
