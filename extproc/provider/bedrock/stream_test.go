package bedrock

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// TestStreams holds streams against files. Each says in its first lines what it guards,
// and has these parts:
//
//	asked    as in TestAnswers
//	frames   what Bedrock sends, a frame a line:
//	           event TYPE JSON, exception TYPE JSON, error CODE MESSAGE
//	           raw HEX, text GO-STRING   bytes that are no frame
//	           cut N                     takes the last N bytes away again
//	           flip N                    turns a bit of the Nth byte from the end
//	           open                      the end of the stream is not told
//	events   what the client gets, and what is known at the end
//
// Each is played whole, byte by byte, and in random pieces; all give the same.
func TestStreams(t *testing.T) {
	eachGolden(t, "testdata/streams/*.txtar", leastStreams, "events", func(t *testing.T, archive *txtar.Archive) string {
		t.Helper()
		asked := askedOf(t, archive)
		bytes, open := framesOf(t, archivePart(archive, "frames"))
		whole := play(t, asked, bytes, open, func(left int) int { return left })
		require.Equal(t, whole, play(t, asked, bytes, open, func(int) int { return 1 }), "byte by byte")
		for seed := range uint64(10) {
			random := rand.New(rand.NewPCG(seed, 7))
			require.Equal(t, whole, play(t, asked, bytes, open, func(left int) int { return 1 + random.IntN(min(left, 200)) }), "seed %d", seed)
		}
		return whole
	})
}

func play(t *testing.T, asked Asked, all []byte, open bool, size func(left int) int) string {
	t.Helper()
	s := NewStream(asked, when, "42")
	var got bytes.Buffer
	for len(all) > 0 {
		n := size(len(all))
		piece := bytes.Clone(all[:n])
		got.Write(s.Write(piece, false))
		clear(piece) // it is Envoy's, and is used again
		all = all[n:]
	}
	if !open {
		got.Write(s.Write(nil, true))
		require.True(t, s.Done())
	}
	checkSSE(t, asked, got.String())
	used, known := s.Usage()
	fmt.Fprintf(&got, "-- done %t, failed %t", s.Done(), s.Failed())
	if known {
		fmt.Fprintf(&got, ", usage %+v", used)
	}
	if s.Odd() != "" {
		fmt.Fprintf(&got, ", odd %s", s.Odd())
	}
	if s.Err() != nil {
		fmt.Fprintf(&got, ", log %s", s.Err())
	}
	return got.String() + "\n"
}

// checkSSE holds what every stream must be: events with JSON, of which at most one is
// an end, which is the last. It gives the end.
func checkSSE(t *testing.T, asked Asked, text string) (end string) {
	t.Helper()
	require.True(t, text == "" || strings.HasSuffix(text, "\n\n"))
	for block := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		if block == "" {
			continue
		}
		require.Empty(t, end, "more after the end: %s", block)
		name, data := "", block
		if asked.Form == Responses {
			first, second, ok := strings.Cut(block, "\n")
			require.True(t, ok, block)
			name, data = strings.TrimPrefix(first, "event: "), second
		}
		require.True(t, strings.HasPrefix(data, "data: "), block)
		data = strings.TrimPrefix(data, "data: ")
		require.NotContains(t, data, "\n")
		switch {
		case data == "[DONE]":
			require.NotEqual(t, Responses, asked.Form)
			end = "done"
			continue
		case strings.HasPrefix(data, `{"error"`), name == "error":
			end = "error"
		case name == "response.completed", name == "response.incomplete":
			end = "done"
		}
		require.True(t, json.Valid([]byte(data)), data)
	}
	return end
}

// framesOf makes the bytes that a file describes.
func framesOf(t *testing.T, text string) (all []byte, open bool) {
	t.Helper()
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		kind, payload, _ := strings.Cut(rest, " ")
		switch word {
		case "", "#":
		case "event":
			all = append(all, frameOf(t, payload, ":message-type", "event", ":event-type", kind, ":content-type", "application/json")...)
		case "exception":
			all = append(all, frameOf(t, payload, ":message-type", "exception", ":exception-type", kind, ":content-type", "application/json")...)
		case "error":
			all = append(all, frameOf(t, "", ":message-type", "error", ":error-code", kind, ":error-message", payload)...)
		case "raw":
			b, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
			require.NoError(t, err)
			all = append(all, b...)
		case "text":
			s, err := strconv.Unquote(rest)
			require.NoError(t, err)
			all = append(all, s...)
		case "cut", "flip":
			n, err := strconv.Atoi(rest)
			require.NoError(t, err)
			if word == "cut" {
				all = all[:len(all)-n]
			} else {
				all[len(all)-n] ^= 1
			}
		case "open":
			open = true
		default:
			require.Fail(t, "not a word of frames: "+word)
		}
	}
	return all, open
}

func frameOf(t testing.TB, payload string, headers ...string) []byte {
	t.Helper()
	m := eventstream.Message{Payload: []byte(payload)}
	for i := 0; i < len(headers); i += 2 {
		m.Headers.Set(headers[i], eventstream.StringValue(headers[i+1]))
	}
	var b bytes.Buffer
	require.NoError(t, eventstream.NewEncoder().Encode(&b, m))
	return b.Bytes()
}

func TestAStreamIsNeverEndedTwice(t *testing.T) {
	s := NewStream(Asked{Form: Chat}, when, "1")
	assert.NotEmpty(t, s.Write(nil, true))
	assert.Empty(t, s.Write(nil, true))
	assert.Empty(t, s.Write([]byte("more"), false))
	assert.True(t, s.Failed())
}
