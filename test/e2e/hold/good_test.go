package hold_test

import (
	"bufio"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// TestAnAnswerIsUnharmed: every byte as it came, in whatever pieces.
func TestAnAnswerIsUnharmed(t *testing.T) {
	h := open(t)
	h.calm(t)
	big := "data: " + strings.Repeat("a long event ", 100_000) + "\n\ndata: [DONE]\n\n"
	for name, c := range map[string]fake.Behavior{
		"lines that end in CR LF":    events("event: a\r\ndata: 1\r\n\r\n: x\r\n\r\ndata: [DONE]\r\n\r\n"),
		"lines that end in CR":       events("data: 1\r\rdata: [DONE]\r\r"),
		"comments first":             events(comments + "data: 1\n\ndata: [DONE]\n\n"),
		"no end of the only line":    whole("data: 1"),
		"no lines":                   whole(strings.Repeat("x", 100_000)),
		"comments of 100 KB":         whole(strings.Repeat(": wait\n\n", 12_500) + "data: 1\n\n"),
		"an event of 1.3 MB":         events(big),
		"no UTF-8":                   whole("data: \xff\xfe\x00\n\n"),
		"compressed, as it says":     {Header: http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"br"}}, Body: []byte("\x0b\x02\x80no line")},
		"an answer":                  {Body: []byte(`{"object":"chat.completion","n":12345678901234567890}`)},
		"an answer of 5 MB":          {Body: []byte(strings.Repeat("0123456789", 500_000))},
		"an answer of nothing":       {Body: []byte{}},
		"an answer without a length": {Body: []byte(`{"object":"chat.completion"}`), CloseDelimited: true},
		"no content":                 {Status: http.StatusNoContent, Body: []byte{}},
		"another kind":               {Header: http.Header{"Content-Type": {"audio/mpeg"}}, Body: []byte("\xff\xfb\x90\x00")},
	} {
		for _, byByte := range []bool{false, true} {
			if byByte && len(c.Body) > 1000 {
				continue
			}
			t.Run(name+map[bool]string{true: ", byte by byte"}[byByte], func(t *testing.T) {
				c.ByteByByte = byByte
				h.a.Always(c)
				got := h.ask(t.Context(), t, chat("held", true))
				require.NoError(t, got.err)
				assert.Equal(t, "a", got.from)
				assert.True(t, string(c.Body) == got.text, "%d bytes of %d", len(got.text), len(c.Body))
				assert.Equal(t, c.Header.Get("Content-Encoding"), got.header.Get("Content-Encoding"))
				if !c.CloseDelimited && c.Header == nil && c.Status == 0 {
					assert.Equal(t, int64(len(c.Body)), got.length, "its length is said")
				}
			})
		}
	}
	assert.Zero(t, h.b.Counts().Requests)
}

// TestEventsDoNotWait: each is with the client before the next is made.
func TestEventsDoNotWait(t *testing.T) {
	h := open(t)
	for _, byByte := range []bool{false, true} {
		for _, model := range []string{"held", "named"} {
			h.calm(t)
			next := make(chan struct{})
			h.a.Always(fake.Behavior{Gate: next, Content: "one two three four", ByteByByte: byByte})
			response, err := h.begin(t.Context(), chat(model, true))
			require.NoError(t, err)
			assert.Equal(t, "a", response.Header.Get("X-Postern-Provider"))
			r := bufio.NewReader(response.Body)
			for n := 1; ; n++ {
				text := event(t, r) // the provider waits for the gate meanwhile
				require.Truef(t, strings.HasPrefix(text, "data: "), "%q", text)
				if text == "data: [DONE]\n\n" {
					assert.Equal(t, 7, n, "the role, four words, the reason, the end")
					break
				}
				next <- struct{}{}
			}
			require.NoError(t, response.Body.Close())
		}
	}
}

// TestAnAnswerThatIsLateIsWaitedFor: as long as first_byte, and no longer.
func TestAnAnswerThatIsLateIsWaitedFor(t *testing.T) {
	h := open(t)
	h.calm(t)
	thinking := make(chan struct{})
	late := events(comments + "data: 1\n\n")
	late.ByteByByte = true
	h.a.Always(late)
	assert.Equal(t, "a", h.ask(t.Context(), t, chat("held", true)).from)
	h.a.Always(fake.Behavior{FirstByteDelay: firstByte / 2})
	assert.Equal(t, "a", h.ask(t.Context(), t, chat("held", true)).from)
	// The silence after the beginning is idle's: ten seconds here.
	h.a.Always(fake.Behavior{Gate: thinking})
	go func() {
		time.Sleep(2 * firstByte)
		close(thinking)
	}()
	got := h.ask(t.Context(), t, chat("held", true))
	require.NoError(t, got.err)
	assert.Equal(t, "a", got.from)
	assert.True(t, strings.HasSuffix(got.text, "data: [DONE]\n\n"), got.text)
	assert.Zero(t, h.b.Counts().Requests)
}

// TestGoIsNotAsked: with Postern stopped, Envoy holds and goes on by itself.
func TestGoIsNotAsked(t *testing.T) {
	h := open(t)
	h.calm(t)
	require.NoError(t, syscall.Kill(h.PID(), syscall.SIGSTOP))
	defer func() { require.NoError(t, syscall.Kill(h.PID(), syscall.SIGCONT)) }()
	got := h.ask(t.Context(), t, chat("held", true))
	require.NoError(t, got.err)
	assert.Equal(t, "a", got.from)
	h.a.Next(1, fake.BreakOff(fake.Stall))
	got = h.ask(t.Context(), t, chat("held", true))
	require.NoError(t, got.err)
	assert.Equal(t, "b", got.from)
	assert.True(t, strings.HasSuffix(got.text, "data: [DONE]\n\n"), got.text)
}
