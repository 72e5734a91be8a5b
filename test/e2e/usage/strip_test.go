package usage_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

const usageChunk = `data: {"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16}}` + "\n\n"

// eventsWith is a stream with an event before its end.
func eventsWith(last string) []byte {
	return []byte(`: a comment` + "\n\n" +
		`data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}` + "\n\n" +
		`data: {"id":"c","choices":[{"index":0,"delta":{"content":"\"choices\":[],\"usage\":{\"prompt_tokens\":5}"}}],"usage":null}` + "\n\n" +
		`data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}` + "\n\n" +
		last + "data: [DONE]\n\n")
}

// Streams that break off, in ways that look like a line's end.
const (
	half   = `data: {"id":"c","cho`
	inText = `data: {"id":"c","choices":[{"delta":{"content":"a } and a {"}}`
	braces = `data: {"id":"c","choices":[{"delta":{"content":"\"{{"}}]}`
)

func crlf(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")) }

// TestTheExtraChunkIsTakenOut compares what a client gets of a stream whose usage it did
// not ask for with the same stream without the chunk, byte by byte.
func TestTheExtraChunkIsTakenOut(t *testing.T) { byEachReader(t, theExtraChunk) }

func theExtraChunk(t *testing.T, h *house) {
	spaced := strings.NewReplacer(`"choices":[]`, `"choices" : [ ]`, `"usage":{`, `"usage" : {`, "data: ", "data:").Replace(usageChunk)
	merged := strings.Replace(usageChunk, `"choices":[]`, `"choices":[{"index":0,"delta":{"content":"!"}}]`, 1)
	long := `data: {"id":"c","choices":[{"index":0,"delta":{"content":"` + strings.Repeat("long ", 100_000) + `"}}]}` + "\n\n"
	var checks []func() // of the records, which come half a second later
	for i, c := range []struct {
		name       string
		sent, want []byte
		bytes      bool
		unknown    bool
		lost       string // what the script loses over HTTP/2: a line that is no whole JSON
	}{
		{name: "as it comes", sent: eventsWith(usageChunk), want: eventsWith("")},
		{name: "byte by byte", sent: eventsWith(usageChunk), want: eventsWith(""), bytes: true},
		{name: "CRLF", sent: crlf(eventsWith(usageChunk)), want: crlf(eventsWith(""))},
		{name: "CRLF, byte by byte", sent: crlf(eventsWith(usageChunk)), want: crlf(eventsWith("")), bytes: true},
		{name: "with spaces", sent: eventsWith(spaced), want: eventsWith("")},
		{name: "in the last words", sent: eventsWith(merged), want: eventsWith(merged)},
		{name: "no chunk at all", sent: eventsWith(""), want: eventsWith(""), unknown: true},
		{name: "no last line break", sent: bytes.TrimRight(eventsWith(usageChunk), "\n"), want: bytes.TrimRight(eventsWith(""), "\n")},
		{name: "no [DONE] and no last line break", sent: bytes.TrimSuffix(eventsWith(""), []byte("\n\ndata: [DONE]\n\n")), want: bytes.TrimSuffix(eventsWith(""), []byte("\n\ndata: [DONE]\n\n")), unknown: true},
		{name: "the words end with a brace", sent: []byte(braces), want: []byte(braces), unknown: true},
		{name: "broken off in a line", sent: []byte(half), want: []byte(half), unknown: true, lost: half},
		{name: "broken off in a text", sent: []byte(inText), want: []byte(inText), unknown: true, lost: inText},
		{name: "an error in place of a stream", sent: []byte(`{"error":{"message":"no"}}`), want: []byte(`{"error":{"message":"no"}}`), unknown: true},
		{name: "a line of 500 KB", sent: eventsWith(long + usageChunk), want: eventsWith(long)},
		{name: "a line of 5 MB that never ends", sent: bytes.Repeat([]byte("x"), 5<<20), want: bytes.Repeat([]byte("x"), 5<<20), unknown: true},
		{name: "CR alone", sent: bytes.ReplaceAll(eventsWith(""), []byte("\n"), []byte("\r")), want: bytes.ReplaceAll(eventsWith(""), []byte("\n"), []byte("\r")), unknown: true},
	} {
		for _, framing := range []string{"length", "chunks", "HTTP/2"} {
			header, at, want := eventStream.Clone(), h.wires()[0], c.want
			switch framing {
			case "chunks":
				header.Set("Transfer-Encoding", "chunked") // in place of the length
			case "HTTP/2":
				at = h.wires()[1]
				if h.reader == "script" {
					want = bytes.TrimSuffix(want, []byte(c.lost))
				}
			}
			at.provider.Next(1, fake.Behavior{Header: header, Body: c.sent, ByteByByte: c.bytes})
			id := fmt.Sprintf("strip-%d-%s", i, framing)
			begun := time.Now()
			_, answer, err := h.ask(t, id, "exact"+at.suffix, `,"stream":true`)
			require.NoError(t, err, "%s, %s", c.name, framing)
			assert.Less(t, time.Since(begun), 2*time.Second, "%s, %s", c.name, framing)
			if !bytes.Equal(want, answer) {
				t.Errorf("%s, %s: %d bytes, not %d: …%q", c.name, framing, len(answer), len(want), tail(answer))
			}
			checks = append(checks, func() {
				record := h.with(t, id, 1)[0]
				assert.Equal(t, c.unknown, record.Get("tokens.estimated").Bool(), "%s: %s", c.name, record.Raw)
				if !c.unknown {
					believed(t, record, "input", 7)
					believed(t, record, "output", 9)
				}
			})
		}
	}
	assert.Equal(t, "HTTP/2.0", h.second.Last().Proto)
	for _, check := range checks {
		check()
	}
	t.Run("the client asked", func(t *testing.T) {
		h.provider.Next(1, fake.Behavior{Header: eventStream, Body: eventsWith(usageChunk)})
		_, answer, err := h.ask(t, "strip-asked", "exact", `,"stream":true,"stream_options":{"include_usage":true}`)
		require.NoError(t, err)
		assert.Equal(t, string(eventsWith(usageChunk)), string(answer))
	})
	t.Run("broken off", func(t *testing.T) {
		whole := eventsWith(usageChunk)
		h.provider.Next(1, fake.Behavior{
			Header: eventStream, Body: whole, Break: fake.Break{How: fake.Close, Bytes: len(whole) - 60},
		})
		_, answer, err := h.ask(t, "strip-broken", "exact", `,"stream":true`)
		require.Error(t, err, "the client sees that it is not whole")
		assert.True(t, bytes.HasPrefix(eventsWith(""), answer), "%q", answer)
		assert.True(t, bytes.HasSuffix(answer, []byte("\n\n")), "only whole events: %q", tail(answer))
		assert.True(t, h.with(t, "strip-broken", 1)[0].Get("tokens.estimated").Bool())
	})
	t.Run("packed", func(t *testing.T) {
		h.provider.Next(1, fake.Behavior{
			Header: http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"gzip"}}, Body: packed(eventsWith(usageChunk)),
		})
		_, answer, err := h.ask(t, "strip-packed", "exact", `,"stream":true`)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(packed(eventsWith(usageChunk)), answer), "what cannot be read goes by as it is")
		assert.True(t, h.with(t, "strip-packed", 1)[0].Get("tokens.estimated").Bool())
	})
}
