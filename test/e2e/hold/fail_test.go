package hold_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// events is a stream as it is written, for a provider to give in place of its own.
func events(text string) fake.Behavior {
	return fake.Behavior{Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: []byte(text), CloseDelimited: true}
}

// whole is events with their own length: where they say of themselves no end, that is theirs.
func whole(text string) fake.Behavior {
	b := events(text)
	b.CloseDelimited = false
	b.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return b
}

// sized is events with a length that is said, so that a cut is not their end.
func sized(text string) fake.Behavior {
	b := events(text)
	b.CloseDelimited = false
	b.Header.Set("Content-Length", "1000000")
	return b
}

// stoppedAt is a behaviour that ends after some of its bytes.
func stoppedAt(b fake.Behavior, how fake.Ending, bytes int) fake.Behavior {
	b.Break = fake.Break{How: how, Bytes: bytes}
	return b
}

const comments = ": the provider is thinking\n\n: still\n\n"

// TestAProviderThatBeginsAndStops: what comes before the answer is not one.
func TestAProviderThatBeginsAndStops(t *testing.T) {
	h := open(t)
	for name, c := range map[string]struct {
		bad    fake.Behavior
		stream bool
		stalls bool
	}{
		"a stream stalls after the headers":   {fake.BreakOff(fake.Stall), true, true},
		"a stream is cut after the headers":   {fake.BreakOff(fake.Close), true, false},
		"a stream is reset after the headers": {fake.BreakOff(fake.Reset), true, false},
		"an answer stalls after the headers":  {fake.BreakOff(fake.Stall), false, true},
		"an answer is cut after the headers":  {fake.BreakOff(fake.Close), false, false},
		"a stream stalls in its first event":  {stoppedAt(events("data: 1\n\n"), fake.Stall, 7), true, true},
		"a stream is cut in its first event":  {stoppedAt(sized("data: 1\n\n"), fake.Close, 7), true, false},
		"comments, and then nothing":          {stoppedAt(events(comments), fake.Stall, len(comments)), true, true},
		"comments, and then the end":          {stoppedAt(events(comments), fake.Reset, len(comments)), true, false},
		"comments, and no answer":             {events(comments), true, false},
		"a stream of nothing":                 {events(""), true, false},
		"a name of an event, then nothing":    {stoppedAt(events("event: x\ndata: 1\n\n"), fake.Stall, 9), true, true},
	} {
		for _, model := range []string{"held", "named", "paths"} {
			t.Run(name+"/"+model, func(t *testing.T) {
				h.calm(t)
				h.a.Next(1, c.bad)
				got := h.ask(t.Context(), t, chat(model, c.stream))
				require.Equal(t, 200, got.status, got.text)
				require.NoError(t, got.err)
				assert.Contains(t, []string{"b", "keys"}, got.from)
				assert.Equal(t, "2", got.attempts)
				assert.Equal(t, 1, h.a.Counts().Requests)
				assert.Equal(t, 1, h.b.Counts().Requests)
				assert.NotContains(t, got.text, "thinking")
				if c.stream {
					assert.True(t, strings.HasSuffix(got.text, "data: [DONE]\n\n"), got.text)
				} else {
					assert.Contains(t, got.text, "one two three")
				}
				if c.stalls {
					assert.GreaterOrEqual(t, got.took, firstByte-50*time.Millisecond)
				}
				assert.Less(t, got.took, firstByte+2*time.Second)
				inOwnForm(t, h, model)
			})
		}
	}
}

// inOwnForm says that the second was asked as if it had been the only one.
func inOwnForm(t *testing.T, h *house, model string) {
	t.Helper()
	second := h.b.Last()
	assert.Equal(t, "/v1/chat/completions", second.Target)
	assert.Equal(t, fmt.Sprint(second.BodyBytes), second.Header.Get("Content-Length"))
	switch model {
	case "named":
		assert.Equal(t, "the-other", second.JSON("model").String())
		assert.Equal(t, "Be kind.", second.JSON("messages.0.content").String())
		assert.Equal(t, "first-name", h.a.Last().JSON("model").String())
	case "paths":
		assert.Equal(t, "/api/v1/chat/completions", h.a.Last().Target)
		assert.Contains(t, []string{"Bearer sk-one", "Bearer sk-two"}, second.Header.Get("Authorization"))
	default:
		assert.Equal(t, model, second.JSON("model").String())
	}
}

// TestWithoutIt is what the key is there for.
func TestWithoutIt(t *testing.T) {
	h := open(t)
	h.a.Next(1, fake.BreakOff(fake.Close))
	got := h.ask(t.Context(), t, chat("plain", true))
	assert.Equal(t, "a", got.from)
	require.Error(t, got.err)
	assert.Zero(t, h.b.Counts().Requests)
}

// TestWhatHasBegunIsNotTakenBack: the client sees an answer that broke.
func TestWhatHasBegunIsNotTakenBack(t *testing.T) {
	h := open(t)
	for name, c := range map[string]struct {
		bad    fake.Behavior
		stream bool
		text   string
	}{
		"a stream after an event": {fake.CutStream(fake.Close, 1), true, "data: "},
		"a stream after two":      {fake.CutStream(fake.Reset, 2), true, "data: "},
		"an answer in its middle": {stoppedAt(fake.Behavior{}, fake.Close, 10), false, `{`},
	} {
		t.Run(name, func(t *testing.T) {
			h.calm(t)
			h.a.Next(1, c.bad)
			got := h.ask(t.Context(), t, chat("held", c.stream))
			assert.Equal(t, 200, got.status)
			assert.Equal(t, "a", got.from)
			require.Error(t, got.err, "it must not look whole")
			assert.NotContains(t, got.text, "[DONE]")
			if c.bad.Break.How != fake.Reset { // a reset may overtake what was written
				assert.True(t, strings.HasPrefix(got.text, c.text), got.text)
			}
			assert.Zero(t, h.b.Counts().Requests)
		})
	}
}

// TestNobodyIsLeft: an error that says so, and not half of a stream.
func TestNobodyIsLeft(t *testing.T) {
	h := open(t)
	for name, c := range map[string]struct {
		bad    fake.Behavior
		status int
		ours   bool // the error's text, and not what the provider said
	}{
		"stalls": {fake.BreakOff(fake.Stall), 504, true},
		"cuts":   {fake.BreakOff(fake.Close), 502, true},
		"ends":   {events(comments), 502, false},
	} {
		for _, model := range []string{"held", "alone"} {
			t.Run(name+"/"+model, func(t *testing.T) {
				h.calm(t)
				h.a.Next(1, c.bad)
				h.b.Next(1, c.bad)
				got := h.ask(t.Context(), t, chat(model, true))
				require.NoError(t, got.err)
				assert.Equal(t, c.status, got.status)
				if c.ours {
					assert.Contains(t, got.text, `"error"`)
					assert.Equal(t, "application/json", got.header.Get("Content-Type"))
				}
				assert.Less(t, got.took, 2*firstByte+2*time.Second)
			})
		}
	}
}

// TestErrorsAreNotHeld: a status that sends a request on does so at once, whatever
// becomes of its body.
func TestErrorsAreNotHeld(t *testing.T) {
	h := open(t)
	for _, status := range []int{500, 429, 401} {
		h.calm(t)
		stalled := fake.Status(status)
		stalled.Break = fake.Break{How: fake.Stall}
		h.a.Next(1, stalled)
		got := h.ask(t.Context(), t, chat("held", true))
		assert.Equal(t, "b", got.from, status)
		assert.Less(t, got.took, firstByte, status)
	}
	h.calm(t)
	h.a.Next(1, fake.Status(400))
	got := h.ask(t.Context(), t, chat("held", true))
	assert.Equal(t, 400, got.status)
	assert.Contains(t, got.text, "told to answer 400")
	assert.Zero(t, h.b.Counts().Requests)
}

// TestAProviderThatOnlyBeginsIsLeftAlone: Envoy counts what never began as a failure.
func TestAProviderThatOnlyBeginsIsLeftAlone(t *testing.T) {
	h := open(t)
	h.calm(t)
	h.a.Always(fake.BreakOff(fake.Close))
	require.Eventually(t, func() bool {
		before := h.a.Counts().Requests
		got := h.ask(t.Context(), t, chat("held", true))
		require.Equal(t, "b", got.from)
		return h.a.Counts().Requests == before
	}, patience, glance)
}

// TestManyAtOnce: a provider stalls or cuts for two of three, and nobody sees it.
func TestManyAtOnce(t *testing.T) {
	h := open(t)
	h.calm(t)
	h.a.ForUser("stalls", fake.BreakOff(fake.Stall))
	h.a.ForUser("cuts", fake.BreakOff(fake.Close))
	const clients, each = 200, 3
	users := []string{"stalls", "cuts", "is well"}
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for j := range each {
				user, stream := users[(i+j)%len(users)], (i+j)%2 == 0
				body := fmt.Sprintf(`{"model":"many","user":%q,"stream":%t,"messages":[{"role":"user","content":"number %d of %d"}]}`, user, stream, j, i)
				got, err := h.try(t.Context(), body)
				if !assert.NoError(t, err) || !assert.NoError(t, got.err) {
					return
				}
				assert.Equal(t, 200, got.status, got.text)
				assert.Equal(t, stream, strings.HasSuffix(got.text, "data: [DONE]\n\n"))
				if user != "is well" {
					assert.Equal(t, "b", got.from)
				}
			}
		})
	}
	all.Wait()
}

// TestAClientThatGoes while its answer is held takes the attempt with it, and nobody else
// is asked.
func TestAClientThatGoes(t *testing.T) {
	h := open(t)
	h.calm(t)
	h.a.Always(fake.BreakOff(fake.Stall))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := h.try(ctx, chat("held", true))
		done <- err
	}()
	require.Eventually(t, func() bool { return h.a.Counts().Active == 1 }, patience, glance)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Eventually(t, func() bool { return h.a.Counts().Aborted == 1 }, firstByte, glance)
	assert.Zero(t, h.b.Counts().Requests)
	h.a.Reset()
	assert.Equal(t, "a", h.ask(t.Context(), t, chat("held", true)).from)
}
