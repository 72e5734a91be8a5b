package bedrock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
	"golang.org/x/tools/txtar"

	"github.com/postern-proxy/postern/extproc/body"
)

func eventOf(t testing.TB, name, payload string) []byte {
	t.Helper()
	return frameOf(t, payload, ":message-type", "event", ":event-type", name, ":content-type", "application/json")
}

// Frames of many sizes, which make the room for them grow and be given back.
func TestLargeFrames(t *testing.T) {
	for _, form := range []Form{Chat, Completions, Responses} {
		var all, want []byte
		for i, size := range []int{1, keptFrame, 3, 2 << 20, 5, keptFrame + 1, 7} {
			text := strings.Repeat(strconv.Itoa(i), size)
			all = append(all, eventOf(t, "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"`+text+`"}}`)...)
			want = append(want, text...)
		}
		all = append(all, eventOf(t, "messageStop", `{"stopReason":"end_turn"}`)...)
		for _, size := range []int{len(all), 70000, 1000} {
			s := NewStream(Asked{Form: form}, when, "1")
			var said strings.Builder
			for piece := range slicesOf(all, size) {
				for line := range strings.Lines(string(s.Write(piece, false))) {
					data, ok := strings.CutPrefix(line, "data: ")
					if !ok {
						continue
					}
					doc := gjson.Parse(data)
					said.WriteString(doc.Get("choices.0.delta.content").String() + doc.Get("choices.0.text").String())
					if form == Responses {
						said.WriteString(doc.Get("delta").String())
					}
				}
			}
			s.Write(nil, true)
			require.NoError(t, s.Err())
			require.True(t, string(want) == said.String(), "form %d in pieces of %d", form, size)
		}
	}
}

func slicesOf(all []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(all) > 0 {
			n := min(size, len(all))
			if !yield(all[:n:n]) {
				return
			}
			all = all[n:]
		}
	}
}

// What has to be said again at the end is bounded, and so is what is held.
func TestAStreamHoldsNoMoreThanItsBounds(t *testing.T) {
	delta := eventOf(t, "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"`+strings.Repeat("x", 1<<20)+`"}}`)
	for name, asked := range map[string]Asked{"responses": {Form: Responses}, "json": {Form: Chat, JSON: true}} {
		t.Run(name, func(t *testing.T) {
			s := NewStream(asked, when, "1")
			for range mostKept >> 20 {
				s.Write(delta, false)
				require.False(t, s.Failed())
			}
			assert.Contains(t, string(s.Write(delta, false)), "provider_invalid_response")
			assert.True(t, s.Failed())
		})
	}
	t.Run("chat holds nothing", func(t *testing.T) {
		s := NewStream(Asked{Form: Chat}, when, "1")
		for range mostKept>>20 + 2 {
			s.Write(delta, false)
		}
		assert.False(t, s.Failed())
	})
	t.Run("open calls", func(t *testing.T) {
		s := NewStream(Asked{Form: Chat}, when, "1")
		for i := range mostOpen {
			s.Write(eventOf(t, "contentBlockStart", `{"contentBlockIndex":`+strconv.Itoa(i)+`,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}`), false)
			require.False(t, s.Failed())
		}
		s.Write(eventOf(t, "contentBlockStart", `{"contentBlockIndex":9999,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}`), false)
		assert.True(t, s.Failed())
	})
}

func TestAFrameIsAsLargeAsItMayBe(t *testing.T) {
	prelude := func(total, headers uint32) []byte {
		b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, total), headers)
		return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	}
	for _, c := range []struct {
		total, headers uint32
		want           error
	}{
		{leastFrame, 0, nil},
		{mostFrame, mostFrame - leastFrame, nil},
		{leastFrame - 1, 0, errFrameLength},
		{0, 0, errFrameLength},
		{mostFrame + 1, 0, errFrameLength},
		{leastFrame + 4, 5, errFrameLength},
		{leastFrame, 1<<32 - 1, errFrameLength},
		{1<<32 - 1, 0, errFrameLength},
	} {
		f := &frames{}
		f.add(prelude(c.total, c.headers))
		frame, err := f.next()
		assert.Nil(t, frame)
		require.ErrorIs(t, err, c.want, "%d %d", c.total, c.headers)
	}
}

func BenchmarkStreamChunk(b *testing.B) {
	delta := eventOf(b, "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":" a \"word\""},"p":"abcdefghijklmnop"}`)
	s := NewStream(Asked{Form: Chat}, when, "1")
	b.ReportAllocs()
	for b.Loop() {
		s.Write(delta, false)
	}
}

// FuzzFrames: whatever the pieces, the same frames come out, or the same error; what
// comes out is what stood there, and is what AWS's own decoder reads off the whole.
func FuzzFrames(f *testing.F) {
	whole := eventOf(f, "messageStop", `{"stopReason":"end_turn"}`)
	f.Add(whole, 3)
	f.Add(append(bytes.Clone(whole), whole...), 1)
	f.Add([]byte("<html>"), 2)
	f.Add(whole[:len(whole)-1], 20)
	f.Fuzz(func(t *testing.T, all []byte, size int) {
		cut := func(size int) (got []byte, count int, end error, unfinished bool) {
			s := &frames{}
			for piece := range slicesOf(all, size) {
				s.add(piece)
				for {
					frame, err := s.next()
					if err != nil {
						return got, count, err, true
					}
					if frame == nil {
						break
					}
					_, _ = (&frameReader{}).read(frame)
					got = append(got, frame...)
					count++
				}
			}
			return got, count, nil, s.unfinished()
		}
		sameAsAWS(t, all)
		got, count, err, left := cut(len(all) + 1)
		require.True(t, bytes.HasPrefix(all, got))
		require.Equal(t, err == nil && !left, len(got) == len(all))
		got2, count2, err2, left2 := cut(1 + abs(size)%64)
		require.Equal(t, got, got2)
		require.Equal(t, count, count2)
		require.Equal(t, err, err2)
		require.Equal(t, left, left2)
	})
}

// sameAsAWS reads all of it both ways: message for message the same, and then both have an
// end or both a mistake. Only a frame larger than any of Bedrock's is refused here alone.
func sameAsAWS(t *testing.T, all []byte) {
	t.Helper()
	s, reader := &frames{}, &frameReader{}
	s.add(all)
	theirs, rest := eventstream.NewDecoder(), bytes.NewReader(all)
	for {
		frame, err := s.next()
		if errors.Is(err, errFrameLength) && len(all) >= 4 && binary.BigEndian.Uint32(s.held[s.read:]) > mostFrame {
			return
		}
		var ours event
		if err == nil && frame != nil {
			ours, err = reader.read(frame)
		}
		before := rest.Len()
		message, failure := theirs.Decode(rest, nil)
		if err != nil || frame == nil {
			require.Error(t, failure, "ours is %v", err)
			// Its EOF is bare at a clean end, and also where a cut lies between two lengths.
			require.Equal(t, err == nil && !s.unfinished(), failure == io.EOF && before == 0) //nolint:errorlint // see above
			return
		}
		require.NoError(t, failure)
		require.True(t, bytes.Equal(message.Payload, ours.payload))
		require.Equal(t, frameHeader(message, ":message-type"), ours.kind)
	}
}

func abs(n int) int { return max(n, -max(n, -1<<62)) }

// FuzzStream plays scripts of events, some of them damaged: what comes out is
// always events with JSON, ends at most once, is the same for any pieces, and is
// only whole if there was a messageStop.
func FuzzStream(f *testing.F) {
	corpus, err := txtarFrames()
	require.NoError(f, err)
	for _, frames := range corpus {
		for form := range 3 {
			f.Add(frames, form, 0, false)
		}
		f.Add(frames, 0, 0, true)
		f.Add(frames, 0, 57, false)
	}
	f.Fuzz(func(t *testing.T, script string, form, damage int, wrapped bool) {
		asked := Asked{Model: "m", Form: []Form{Chat, Completions, Responses}[abs(form)%3], IncludeUsage: damage%2 == 0, JSON: wrapped}
		all, stopped := scriptBytes(t, script)
		if damage != 0 && len(all) > 0 {
			all[abs(damage)%len(all)] ^= byte(1 + abs(damage)%255)
		}
		end := func(size int) (string, string) {
			s := NewStream(asked, when, "42")
			var got bytes.Buffer
			for piece := range slicesOf(all, size) {
				got.Write(s.Write(piece, false))
			}
			got.Write(s.Write(nil, true))
			end := checkSSE(t, asked, got.String())
			require.Equal(t, s.Failed(), end == "error")
			require.True(t, s.Done())
			return got.String(), end
		}
		whole, how := end(len(all) + 1)
		require.NotEmpty(t, how, "the stream has no end")
		if how == "done" {
			require.True(t, stopped, "whole without messageStop: %s", whole)
		}
		pieces, _ := end(1 + abs(damage)%7)
		require.Equal(t, whole, pieces)
	})
}

// scriptBytes makes frames of lines "KIND TYPE PAYLOAD", as in the files of streams;
// lines that are none are bytes. stopped says that a messageStop was among them.
func scriptBytes(t *testing.T, script string) (all []byte, stopped bool) {
	t.Helper()
	for line := range strings.Lines(script) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, payload, _ := strings.Cut(rest, " ")
		switch word {
		case "event":
			stopped = stopped || name == "messageStop"
			all = append(all, frameOf(t, payload, ":message-type", "event", ":event-type", clip(name))...)
		case "exception":
			all = append(all, frameOf(t, payload, ":message-type", "exception", ":exception-type", clip(name))...)
		case "error":
			all = append(all, frameOf(t, "", ":message-type", "error", ":error-code", clip(name), ":error-message", clip(payload))...)
		default:
			all = append(all, line...)
		}
	}
	return all, stopped
}

// clip keeps a header's value as long as a header may be.
func clip(text string) string { return text[:min(len(text), 1000)] }

func txtarFrames() (all []string, err error) {
	files, err := filepath.Glob("testdata/streams/*.txtar")
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, archivePart(archive, "frames"))
	}
	return all, err
}

// Answers are read from bytes that anybody may have made.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"output":{"message":{"content":[{"text":"a"},{"toolUse":{"toolUseId":"t","name":"f","input":{"a":1}}}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":2}}`), 200, 0, "")
	f.Add([]byte(`{"output":{"message":{"content":[{"reasoningContent":{"reasoningText":{"text":"a","signature":"s"}}}]}},"stopReason":"max_tokens"}`), 200, 2, "")
	f.Add([]byte(`{"embedding":[1,2.5],"inputTextTokenCount":3}`), 200, 3, "")
	f.Add([]byte(`{"message":"arn:aws:bedrock:x 123456789012"}`), 400, 0, "ValidationException:http://x")
	f.Fuzz(func(t *testing.T, body []byte, status, form int, name string) {
		asked := Asked{Operation: Converse, Model: name, Form: Form(1 + abs(form)%4), JSON: form%3 == 0, Base64: form%2 == 0}
		r := Answer(asked, status, func(string) string { return name }, body, when, name)
		require.True(t, gjson.ValidBytes(r.Body), "%s", r.Body)
		require.Equal(t, r.Status != 200, r.Err != nil)
		require.Equal(t, r.Err != nil, gjson.GetBytes(r.Body, "error.message").String() != "")
		require.True(t, r.Status == 200 || !bytes.Contains(r.Body, []byte("arn:aws:")))
	})
}

// A fatal stack overflow cannot be caught: a provider must not be able to cause one.
func TestNestingIsBounded(t *testing.T) {
	nested := func(depth int) string {
		return strings.Repeat(`[{"x]":`, depth/2) + `"\\\"["` + strings.Repeat("}]", depth/2)
	}
	answer := func(depth int) []byte {
		return []byte(`{"output":{"message":{"content":[{"toolUse":{"toolUseId":"t","name":"f","input":` + nested(depth) + `}}]}},"stopReason":"tool_use"}`)
	}
	none := func(string) string { return "" }
	asked := Asked{Operation: Converse, Form: Chat}
	for depth, want := range map[int]int{100: 200, 16 << 20: 502, body.MaxDepth - 10: 200, body.MaxDepth + 4000: 502} {
		assert.Equal(t, want, Answer(asked, 200, none, answer(depth), when, "1").Status, depth)
	}
	assert.Equal(t, 400, Answer(asked, 400, none, answer(16<<20), when, "1").Status)
	for _, frame := range [][]byte{
		eventOf(t, "contentBlockDelta", strings.Repeat("[", 15<<20)),
		frameOf(t, strings.Repeat("[", 15<<20), ":message-type", "exception", ":exception-type", "validationException"),
	} {
		s := NewStream(asked, when, "1")
		s.Write(frame, false)
		assert.True(t, s.Failed())
	}
}
