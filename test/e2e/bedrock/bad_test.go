package bedrock_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// said is a question whose last words are for the fake.
func said(model, text, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]%s}`, model, text, more)
}

const streaming = `"stream":true,"stream_options":{"include_usage":true}`

// ended is a stream as a client got it: its text, how HTTP ended it, and its last event.
type ended struct {
	status int
	text   string
	err    error
	last   string
}

func (h *house) stream(t *testing.T, model, text string) ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	response, err := h.Send(ctx, gate.Client(), "/v1/chat/completions", said(model, text, streaming))
	require.NoError(t, err)
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	e := ended{status: response.StatusCode, text: string(all), err: err}
	events := strings.Split(strings.TrimSpace(e.text), "\n\n")
	e.last = strings.TrimPrefix(events[len(events)-1], "data: ")
	return e
}

const done = "[DONE]"

// TestAStreamThatFailedNeverLooksWhole.
func TestAStreamThatFailedNeverLooksWhole(t *testing.T) {
	h := build(t, "  haiku: {route: [[{provider: aws, model: \""+claude+"\"}]], timeouts: {first_byte: 2s, idle: 2s}}\n")
	for word, code := range map[string]string{
		"exception-first":  "rate_limit_exceeded",
		"exception-middle": "provider_unreachable",
		"exception-last":   "", // the answer was whole before it
		"no-message-stop":  "provider_unreachable",
		"crc":              "provider_invalid_response",
		"crc-prelude":      "provider_invalid_response",
	} {
		t.Run(word, func(t *testing.T) {
			e := h.stream(t, "haiku", "fake:"+word+" one two three four")
			assert.Equal(t, http.StatusOK, e.status)
			require.NoError(t, e.err, "an error that is said is no broken connection")
			if code == "" {
				assert.Equal(t, done, e.last)
				return
			}
			assert.NotContains(t, e.text, done)
			assert.Equal(t, code, gjson.Get(e.last, "error.code").String(), e.last)
			assert.NotEmpty(t, gjson.Get(e.last, "error.message").String())
		})
	}
	for word, broken := range map[string]fake.Behavior{
		"cut": fake.CutStream(fake.Close, 3), "cut-frame": fake.CutMidFrame(fake.Close, 3), "reset": fake.CutStream(fake.Reset, 3),
	} {
		t.Run(word, func(t *testing.T) {
			broken.EventDelay = 100 * time.Millisecond // what came before is with the client
			h.bedrock.ForText(word, broken)
			e := h.stream(t, "haiku", word)
			assert.Equal(t, http.StatusOK, e.status)
			assert.Contains(t, e.text, "You ", "what came before was told")
			assert.NotContains(t, e.text, done)
			require.ErrorIs(t, e.err, io.ErrUnexpectedEOF, "HTTP itself says that it broke off: %s", e.last)
		})
	}
	for word, tokens := range map[string]bool{"no-metadata": false, "late-metadata": true, "bytes": true, "together": true, "empty": true, "reasoning": true, "cached": true} {
		t.Run(word, func(t *testing.T) {
			e := h.stream(t, "haiku", "fake:"+word+" one two three four")
			require.NoError(t, e.err)
			assert.Equal(t, done, e.last)
			assert.Equal(t, tokens, strings.Contains(e.text, `"usage":{`), e.text)
			assert.Contains(t, e.text, `"finish_reason":"stop"`)
		})
	}
}

// TestASilentStreamIsCut when its idle time is over, of either form, and not sooner.
func TestASilentStreamIsCut(t *testing.T) {
	const times = "timeouts: {first_byte: 500ms, idle: 2s}"
	h := build(t, "  theirs: {route: [[{provider: aws, model: \""+claude+"\"}], [{provider: aws, model: \""+nova+"\"}]], "+times+"}\n"+
		"  own: {route: [[{provider: openai}], [{provider: aws, model: \""+claude+"\"}]], "+times+"}\n")
	h.bedrock.ForText("stall", fake.CutStream(fake.Stall, 3))
	h.openai.ForText("stall", openai.CutStream(openai.Stall, 3))
	// Words that come, however slowly, are no silence.
	h.bedrock.ForText("slow", fake.Behavior{EventDelay: 700 * time.Millisecond})
	h.openai.ForText("slow", openai.Behavior{EventDelay: 700 * time.Millisecond})
	for _, model := range []string{"theirs", "own"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			e := h.stream(t, model, "stall")
			require.ErrorIs(t, e.err, io.ErrUnexpectedEOF, "HTTP itself says that it broke off: %s", e.last)
			assert.Contains(t, e.text, "You ", "what came before was told")
			assert.NotContains(t, e.text, done)
			assert.GreaterOrEqual(t, time.Since(began), 2*time.Second)
			assert.Less(t, time.Since(began), 15*time.Second)
			e = h.stream(t, model, "slow")
			require.NoError(t, e.err)
			assert.Equal(t, done, e.last)
		})
	}
}

// TestErrorsOfBedrockAreOpenAIs, before the first byte.
func TestErrorsOfBedrockAreOpenAIs(t *testing.T) {
	h := build(t, "  haiku: {route: [[{provider: aws, model: \""+claude+"\"}]], timeouts: {first_byte: 2s, idle: 2s}}\n"+
		only("nobody", "acme.nothing-v1:0"))
	for word, want := range map[string]struct {
		status int
		code   string
		wait   string
	}{
		"throttled":       {429, "rate_limit_exceeded", "1"},
		"quota":           {429, "rate_limit_exceeded", ""},
		"model-not-ready": {429, "rate_limit_exceeded", "5"},
		"validation":      {400, "invalid_request", ""},
		"access-denied":   {502, "provider_unreachable", ""},
		"expired":         {502, "provider_unreachable", ""},
		"not-found":       {404, "model_not_found", ""},
		"model-timeout":   {504, "provider_timeout", ""},
		"model-error":     {502, "provider_unreachable", ""},
		"internal":        {500, "provider_error", ""},
		"unavailable":     {503, "gateway_unavailable", ""},
		"html":            {502, "provider_invalid_response", ""},
		"garbage":         {502, "provider_invalid_response", ""},
		"garbage-json":    {502, "provider_invalid_response", ""},
		"close":           {502, "provider_unreachable", ""},
		"reset":           {502, "provider_unreachable", ""},
		"silence":         {504, "provider_timeout", ""},
		"500":             {500, "provider_error", ""},
		"301":             {502, "provider_invalid_response", ""},
	} {
		for _, more := range []string{"", streaming} {
			if more != "" && word == "garbage-json" {
				continue // a stream has frames
			}
			t.Run(word+more[:min(len(more), 8)], func(t *testing.T) {
				t.Parallel()
				r, text := h.ask(t, said("haiku", "fake:"+word, more))
				assert.Equal(t, want.status, r.StatusCode, text)
				assert.Equal(t, want.code, gjson.Get(text, "error.code").String(), text)
				assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
				assert.Equal(t, want.wait, r.Header.Get("Retry-After"))
				assert.Equal(t, fmt.Sprint(len(text)), r.Header.Get("Content-Length"))
				for name := range r.Header {
					assert.False(t, strings.HasPrefix(name, "X-Amz"), name)
				}
				assert.NotContains(t, text, "AKIA")
			})
		}
	}
	t.Run("an answer without a body", func(t *testing.T) {
		h.bedrock.ForText("nothing", fake.Behavior{Status: 503, Body: []byte{}})
		r, text := h.ask(t, said("haiku", "nothing", ""))
		assert.Equal(t, 503, r.StatusCode, text)
		assert.Equal(t, "gateway_unavailable", gjson.Get(text, "error.code").String(), text)
	})
	t.Run("an unknown model", func(t *testing.T) {
		r, text := h.ask(t, said("nobody", "hello", ""))
		assert.Equal(t, 404, r.StatusCode, text)
		assert.Equal(t, "model_not_found", gjson.Get(text, "error.code").String())
	})
}

// TestPlainAnswersThatAreOdd are right all the same, or are refused.
func TestPlainAnswersThatAreOdd(t *testing.T) {
	h := build(t, only("haiku", claude))
	r, text := h.ask(t, said("haiku", "fake:empty", ""))
	require.Equal(t, 200, r.StatusCode, text)
	assert.Empty(t, gjson.Get(text, "choices.0.message.content").String())

	tool := `"tools":[{"type":"function","function":{"name":"search"}}],"tool_choice":"required"`
	r, text = h.ask(t, said("haiku", "fake:bad-tool", tool))
	require.Equal(t, 200, r.StatusCode, text)
	assert.Equal(t, `{"tools": [`, gjson.Get(text, "choices.0.message.tool_calls.0.function.arguments").String(), "it is the model's own, and the client's to judge")

	r, text = h.ask(t, said("haiku", "fake:cached", ""))
	require.Equal(t, 200, r.StatusCode, text)
	assert.EqualValues(t, 30, gjson.Get(text, "usage.prompt_tokens_details.cached_tokens").Int())
	assert.EqualValues(t, 1+30+12, gjson.Get(text, "usage.prompt_tokens").Int())

	r, text = h.ask(t, said("haiku", "fake:big", ""))
	require.Equal(t, 200, r.StatusCode)
	assert.Greater(t, len(gjson.Get(text, "choices.0.message.content").String()), 5<<20-1)
	size := 1 << 18
	if gate.RaceDetector { // fifty thousand events take it longer than a client waits
		size = 1 << 16
	}
	h.bedrock.ForText("long", fake.Behavior{Size: size, Together: true})
	e := h.stream(t, "haiku", "long")
	require.NoError(t, e.err)
	assert.Equal(t, done, e.last)
	assert.GreaterOrEqual(t, len(e.text), size)

	for body, field := range map[string]string{
		`{"model":"haiku","messages":[{"role":"user","content":[{"type":"video_url","video_url":{"url":"x"}}]}]}`: "messages[0].content[0]",
		`{"model":"haiku","messages":[]}`:                  "messages",
		`{"model":"haiku"}`:                                "messages",
		`{"model":"haiku","messages":[{"role":"wizard"}]}`: "messages[0].role",
		said("haiku", "x", `"temperature":"hot"`):          "temperature",
		picture("https://elsewhere.example.com/a.png"):     "messages[0].content[0].image_url",
		picture("http://images.example.com/a.png"):         "messages[0].content[0].image_url",
		picture("https://images.example.com:8443/a.png"):   "messages[0].content[0].image_url",
		picture("https://me:me@images.example.com/a.png"):  "messages[0].content[0].image_url",
		picture("file:///etc/passwd"):                      "messages[0].content[0].image_url",
		picture("data:image/png;base64," + pngOf(5<<20)):   "messages[0].content[0].image_url",
		picture("data:image/png;base64,bm90IGFuIGltYWdl"):  "messages[0].content[0].image_url",
	} {
		before := h.bedrock.Counts().Requests
		r, text = h.ask(t, body)
		assert.Equal(t, 400, r.StatusCode, text)
		assert.True(t, strings.HasPrefix(gjson.Get(text, "error.param").String(), field), "%s: %s", field, text)
		assert.Equal(t, before, h.bedrock.Counts().Requests, "nobody was asked")
	}
	h.bedrock.NoRefusals(t)
}

func picture(url string) string {
	return fmt.Sprintf(`{"model":"haiku","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":%q}},{"type":"text","text":"what is it?"}]}]}`, url)
}

// pngOf is a PNG of so many bytes, in base64; what follows its first bytes is nothing.
func pngOf(size int) string {
	image := append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{7}, size-8)...)
	return base64.StdEncoding.EncodeToString(image)
}

// TestLargeBodies are signed right, on a cold connection and on a warm one.
func TestLargeBodies(t *testing.T) {
	// Twenty megabytes take the fake, with the race detector, longer than a usual answer.
	const patient = "timeouts: {first_byte: 60s, idle: 60s}"
	h := build(t, "  haiku: {route: [[{provider: aws, model: \""+claude+"\"}]], "+patient+"}\n"+
		"  both: {route: [[{provider: aws, model: \""+titan+"\"}], [{provider: aws, model: \""+nova+"\"}]], "+patient+"}\n")
	for range 2 {
		r, text := h.ask(t, picture("data:image/png;base64,"+pngOf(15<<18)))
		require.Equal(t, 200, r.StatusCode, text)
		r, text = h.ask(t, said("haiku", strings.Repeat("word ", 19<<20/5), ""))
		require.Equal(t, 200, r.StatusCode, text[:min(len(text), 300)])
		r, text = h.ask(t, said("both", strings.Repeat("wörd ", 5<<20/6), ""))
		require.Equal(t, 200, r.StatusCode, text[:min(len(text), 300)])
	}
	// Many small messages: in Bedrock's form they are the longest.
	one := `{"role":"user","content":"a"},{"role":"assistant","content":"b"},`
	r, text := h.ask(t, `{"model":"haiku","messages":[`+strings.Repeat(one, 1<<20/len(one))+`{"role":"user","content":"c"}]}`)
	require.Equal(t, 200, r.StatusCode, text[:min(len(text), 300)])
	h.bedrock.NoRefusals(t)
}

// TestClocksAndCredentials: what the operator has to mend is never the client's fault.
func TestClocksAndCredentials(t *testing.T) {
	h := build(t, only("haiku", claude))
	ask := func(want int) string {
		t.Helper()
		r, text := h.ask(t, hello("haiku", ""))
		assert.Equal(t, want, r.StatusCode, text)
		return text
	}
	ask(200)
	// The edge is at five minutes; the rest is for a request that is slow.
	for _, skew := range []time.Duration{5*time.Minute - 15*time.Second, -5*time.Minute + 15*time.Second} {
		h.bedrock.Skew(skew)
		ask(200)
	}
	for _, skew := range []time.Duration{5*time.Minute + 15*time.Second, -5*time.Minute - 15*time.Second} {
		h.bedrock.Skew(skew)
		text := ask(502)
		assert.Contains(t, text, "The key of this request is not at fault")
	}
	h.bedrock.Skew(0)
	ask(200)
	expired := fake.Test
	expired.Expired = true
	h.bedrock.Accept(expired)
	assert.Eventually(t, func() bool {
		assert.Contains(t, ask(502), "The key of this request is not at fault")
		return strings.Contains(h.Output(), "ExpiredToken")
	}, 10*time.Second, 300*time.Millisecond, "the operator is told why, at most once a second")
	h.bedrock.Accept(fake.Test)
	ask(200)
	assert.NotContains(t, h.Output(), fake.Test.Secret)
	assert.NotContains(t, h.EnvoyLog(), fake.Test.Secret)
}

// A remote image is fetched before Bedrock is asked: without it, nobody is. (What is
// fetched, and that nothing inside is, package images tests: no machine without a network
// has a public address.)
func TestAnImageThatIsNotToBeHad(t *testing.T) {
	h := build(t, only("haiku", claude))
	r, text := h.ask(t, picture("https://nowhere.example.com/a.png"))
	assert.Equal(t, http.StatusBadGateway, r.StatusCode, text)
	assert.Equal(t, "messages[0].content[0].image_url", gjson.Get(text, "error.param").String(), text)
	assert.NotContains(t, text, "nowhere.example.com")
	assert.Zero(t, h.bedrock.Counts().Requests)
}

// A client that reads slowly, or not at all, holds up its own answer and nobody else's,
// however long the answer is and whatever became of its provider's connection.
func TestSlowReaders(t *testing.T) {
	h := build(t, "  haiku: {route: [[{provider: aws, model: \""+claude+"\"}]]}\n")
	h.bedrock.ForText("large", fake.Behavior{Size: 6 << 20})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			connection, err := net.Dial("tcp", h.Address)
			if !assert.NoError(t, err) { //nolint:testifylint // require ends the wrong goroutine here
				return
			}
			defer connection.Close()
			_ = connection.SetDeadline(time.Now().Add(60 * time.Second))
			body := said("haiku", "large", "")
			fmt.Fprintf(connection, "POST /v1/chat/completions HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				h.Key, len(body), body)
			head := make([]byte, 4096)
			_, err = io.ReadAtLeast(connection, head, len("HTTP/1.1 200"))
			assert.NoError(t, err) //nolint:testifylint // likewise
			assert.Contains(t, string(head), "200 OK")
			if i%2 == 0 {
				return // it goes away with most of its answer unread
			}
			time.Sleep(300 * time.Millisecond) // a slow reader is what is tested
			n, err := io.CopyN(io.Discard, connection, 5<<20)
			assert.NoError(t, err) //nolint:testifylint // likewise
			assert.EqualValues(t, 5<<20, n)
		})
	}
	all.Wait()
	for range 5 {
		r, text := h.ask(t, hello("haiku", ""))
		assert.Equal(t, 200, r.StatusCode, text)
	}
	assert.NotContains(t, h.EnvoyLog(), "fault")
}
