package usage_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// chatWith is a chat's answer with a usage member; "" is none. It comes at the end.
func chatWith(content, usage string) []byte {
	body := `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":` + content + `},"finish_reason":"stop"}]`
	if usage != "" {
		body += `,"usage":` + usage
	}
	return []byte(body + "}")
}

func packed(text []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(text)
	_ = w.Close()
	return out.Bytes()
}

// tokens of a record: the provider's own numbers, or -1 where they are estimated.
type tokens struct{ input, output int64 }

const guessed = -1

var eventStream = http.Header{"Content-Type": {"text/event-stream"}}

// oddAnswers are answers whose usage is not as it should be, and what is believed of it.
var oddAnswers = []struct {
	name   string
	how    fake.Behavior
	stream bool
	want   tokens
	broken bool // the client does not get the whole of it
}{
	{name: "as it should be", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16}`)}, want: tokens{7, 9}},
	{name: "zeros", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`)}, want: tokens{0, 0}},
	{name: "negative", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":-7,"completion_tokens":-9,"total_tokens":-16}`)}, want: tokens{guessed, guessed}},
	{name: "huge", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":99999999999999999999,"completion_tokens":1e300}`)}, want: tokens{guessed, guessed}},
	{name: "infinite", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":1e999,"completion_tokens":NaN}`)}, want: tokens{guessed, guessed}},
	{name: "fractions", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":1.5,"completion_tokens":2.5}`)}, want: tokens{guessed, guessed}},
	{name: "digits in texts", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":"7","completion_tokens":"9"}`)}, want: tokens{7, 9}},
	{name: "words in texts", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":"many","completion_tokens":"0x9"}`)}, want: tokens{guessed, guessed}},
	{name: "other kinds", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":[7],"completion_tokens":{"n":9},"total_tokens":true}`)}, want: tokens{guessed, guessed}},
	{name: "an empty object", how: fake.Behavior{Body: chatWith(`"x"`, `{}`)}, want: tokens{guessed, guessed}},
	{name: "null", how: fake.Behavior{Body: chatWith(`"x"`, `null`)}, want: tokens{guessed, guessed}},
	{name: "a list", how: fake.Behavior{Body: chatWith(`"x"`, `[{"prompt_tokens":7}]`)}, want: tokens{guessed, guessed}},
	{name: "no usage", how: fake.Behavior{Body: chatWith(`"x"`, "")}, want: tokens{guessed, guessed}},
	{name: "only input", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":7}`)}, want: tokens{7, guessed}},
	{name: "input and total", how: fake.Behavior{Body: chatWith(`"x"`, `{"prompt_tokens":7,"total_tokens":16}`)}, want: tokens{7, 9}},
	{name: "only the total", how: fake.Behavior{Body: chatWith(`"x"`, `{"total_tokens":1000}`)}, want: tokens{guessed, guessed}},
	{name: "cut off", how: fake.Behavior{Body: []byte(`{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9`)}, want: tokens{guessed, guessed}},
	{name: "100,000 braces", how: fake.Behavior{Body: chatWith(`"x"`, strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000))}, want: tokens{guessed, guessed}},
	{name: "100,000 braces that never close", how: fake.Behavior{Body: []byte(`{"usage":` + strings.Repeat("{", 100_000))}, want: tokens{guessed, guessed}},
	{name: "bytes above 0x7F in it", how: fake.Behavior{Body: chatWith(`"x"`, "{\"prompt_tokens\":7,\"completion_tokens\":9,\"note\":\"\xff\xfe\"}")}, want: tokens{guessed, guessed}},
	{name: "in the content", how: fake.Behavior{Body: chatWith(`"\"usage\":{\"prompt_tokens\":1000000,\"completion_tokens\":1}"`, "")}, want: tokens{guessed, guessed}},
	{name: "in the content, behind the true one", how: fake.Behavior{
		Body: []byte(`{"usage":{"prompt_tokens":7,"completion_tokens":9},"choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":1000000,\"completion_tokens\":1}"}}]}`),
	}, want: tokens{7, 9}},
	{name: "in a tool that is repeated, and no other", how: fake.Behavior{Body: chatWith(`"x"`, `null,"tools":[{"parameters":{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}}]`)}, want: tokens{guessed, guessed}},
	{name: "in a tool behind the true one", how: fake.Behavior{
		Body: chatWith(`"x"`, `{"prompt_tokens":7,"completion_tokens":9},"tools":[{"parameters":{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}}],"text":"}]{\\\""`),
	}, want: tokens{7, 9}},
	{name: "in an event of a response", how: fake.Behavior{Header: eventStream, Body: []byte(
		"event: response.created\ndata: {\"response\":{\"tools\":[{\"parameters\":{\"usage\":{\"input_tokens\":0}}}],\"usage\":null}}\n\n" +
			"event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":9},\"tools\":[{\"parameters\":{\"usage\":{\"input_tokens\":0}}}]}}\n\n"),
	}, stream: true, want: tokens{7, 9}},
	{name: "in a tool of an event", how: fake.Behavior{Header: eventStream, Body: []byte(
		"event: response.created\ndata: {\"response\":{\"text\":{\"usage\":{\"input_tokens\":0,\"output_tokens\":0}},\"usage\":null}}\n\n"),
	}, stream: true, want: tokens{guessed, guessed}},
	{name: "at the beginning of 5 MB", how: fake.Behavior{
		Body: []byte(`{"usage":{"prompt_tokens":7,"completion_tokens":9},"x":"` + strings.Repeat("y", 5<<20) + `"}`),
	}, want: tokens{guessed, guessed}},
	{name: "at the end of 5 MB", how: fake.Behavior{Body: chatWith(`"`+strings.Repeat("y", 5<<20)+`"`, `{"prompt_tokens":7,"completion_tokens":9}`)}, want: tokens{7, 9}},
	{name: "packed", how: fake.Behavior{
		Body:   packed(chatWith(`"x"`, `{"prompt_tokens":7,"completion_tokens":9}`)),
		Header: http.Header{"Content-Encoding": {"gzip"}},
	}, want: tokens{guessed, guessed}},
	{name: "byte by byte", how: fake.Behavior{ByteByByte: true, Body: chatWith(`"x"`, `{"prompt_tokens":7,"completion_tokens":9}`)}, want: tokens{7, 9}},
	{name: "no JSON by its type", how: fake.Behavior{
		Body: chatWith(`"x"`, `{"prompt_tokens":7,"completion_tokens":9}`), Header: http.Header{"Content-Type": {"text/plain"}},
	}, want: tokens{guessed, guessed}},
	{name: "broken off behind it", how: fake.Behavior{
		Body:  []byte(`{"usage":{"prompt_tokens":7,"completion_tokens":9},"x":"` + strings.Repeat("y", 1000) + `"}`),
		Break: fake.Break{How: fake.Reset, Bytes: 500},
	}, want: tokens{guessed, guessed}, broken: true},
	{name: "broken off before it", how: fake.Behavior{
		Body:  chatWith(`"`+strings.Repeat("y", 1000)+`"`, `{"prompt_tokens":7,"completion_tokens":9}`),
		Break: fake.Break{How: fake.Close, Bytes: 500},
	}, want: tokens{guessed, guessed}, broken: true},
	{name: "a stream with CRLF", how: fake.Behavior{Header: eventStream, Body: crlf(eventsWith(usageChunk))}, stream: true, want: tokens{7, 9}},
	{name: "a stream, byte by byte", how: fake.Behavior{Header: eventStream, Body: eventsWith(usageChunk), ByteByByte: true}, stream: true, want: tokens{7, 9}},
	{name: "a stream without it", how: fake.Behavior{Header: eventStream, Body: eventsWith("")}, stream: true, want: tokens{guessed, guessed}},
	{name: "a stream that is broken off", how: fake.Behavior{
		Header: eventStream, Body: eventsWith(usageChunk), Break: fake.Break{How: fake.Reset, Bytes: 200},
	}, stream: true, want: tokens{guessed, guessed}, broken: true},
}

// TestOddAnswers has the provider say its usage in all ways but the right one. The
// client gets the answer as it is; what cannot be believed is estimated and marked, and
// never 0.
func TestOddAnswers(t *testing.T) { byEachReader(t, theOddAnswers) }

func theOddAnswers(t *testing.T, h *house) {
	for i, c := range oddAnswers {
		for _, at := range h.wires() {
			at.provider.Next(1, c.how)
			response, answer, err := h.ask(t, "odd-"+strconv.Itoa(i)+at.suffix, "plain"+at.suffix, fmt.Sprintf(`,"stream":%t`, c.stream))
			if !c.broken {
				require.NoError(t, err, c.name)
				assert.Equal(t, 200, response.StatusCode, c.name)
				assert.True(t, bytes.Equal(c.how.Body, answer), "%s, %s: the client gets the provider's bytes", c.name, at.name)
			}
		}
	}
	for i, c := range oddAnswers {
		for _, at := range h.wires() {
			t.Run(c.name+at.suffix, func(t *testing.T) {
				record := h.with(t, "odd-"+strconv.Itoa(i)+at.suffix, 1)[0]
				believed(t, record, "input", c.want.input)
				believed(t, record, "output", c.want.output)
				estimated := c.want.input < 0 || c.want.output < 0
				assert.Equal(t, estimated, record.Get("tokens.estimated").Bool(), record.Raw)
				assert.Equal(t, estimated, record.Get("cost_estimated").Bool(), record.Raw)
				assert.Equal(t, gjson.String, record.Get("cost_usd").Type, record.Raw)
			})
		}
	}
	t.Run("its cost is bounded", h.cost)
}

func believed(t *testing.T, record gjson.Result, which string, want int64) {
	t.Helper()
	got := record.Get("tokens." + which)
	require.Equal(t, gjson.Number, got.Type, record.Raw)
	if want == guessed {
		assert.Positive(t, got.Int(), record.Raw)
		return
	}
	assert.Equal(t, want, got.Int(), record.Raw)
}

// Texts that are made to keep the reader of usage busy do not.
func (h *house) cost(t *testing.T) {
	for name, piece := range map[string]string{
		"open braces": `"usage":{{{{`, "spaces": `"usage"` + strings.Repeat(" ", 500), "colons": `"usage":"usage":`,
		"pairs": `"usage":{"usage":{}}`, "choices": `"choices"  :  [ "usage"  :  {`,
	} {
		body := []byte(strings.Repeat(piece, (16<<10)/len(piece)))
		for kind, header := range map[string]http.Header{"plain": nil, "exact": eventStream} {
			h.provider.Next(5, fake.Behavior{Body: append([]byte("data: "), body...), Header: header})
			best := time.Hour
			for range 5 {
				begun := time.Now()
				_, _, err := h.ask(t, "cost", kind, fmt.Sprintf(`,"stream":%t`, header != nil))
				require.NoError(t, err)
				best = min(best, time.Since(begun))
			}
			assert.Less(t, best, 50*time.Millisecond, "%s, %s", name, kind)
		}
	}
}
