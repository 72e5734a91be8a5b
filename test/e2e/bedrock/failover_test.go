package bedrock_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
)

const mixed = `
  there: {route: [[{provider: openai}], [{provider: aws, model: "` + claude + `"}]]}
  back: {route: [[{provider: aws, model: "` + claude + `"}], [{provider: openai, model: gpt-9}]]}
  weak: {route: [[{provider: aws, model: "` + titan + `"}], [{provider: aws, model: "` + claude + `"}], [{provider: openai}]]}
  split: {route: [[{provider: aws, model: "` + titan + `", weight: 99}, {provider: aws, model: "` + nova + `", weight: 1}]]}
  poor: {route: [[{provider: aws, model: "` + titan + `"}, {provider: aws, model: "` + llama + `"}]]}
  "aws/*": {route: [[{provider: aws, model: "*"}]]}
`

// steady has who fails keep its place, so that each case asks it.
const steady = "health: {probe: off, breakers: off}\n"

// TestFailoverBetweenForms: a busy or dead provider of either form, plain and streaming.
func TestFailoverBetweenForms(t *testing.T) {
	h := build(t, mixed+steady)
	for name, c := range map[string]struct {
		model, answered string
		openai          openai.Behavior
		bedrock         fake.Behavior
	}{
		"OpenAI throttled":   {"there", "aws", openai.RateLimited(time.Minute), fake.Behavior{}},
		"OpenAI failing":     {"there", "aws", openai.Status(500), fake.Behavior{}},
		"OpenAI resets":      {"there", "aws", openai.NoAnswer(openai.Reset), fake.Behavior{}},
		"Bedrock throttled":  {"back", "openai", openai.Behavior{}, fake.Throttled(time.Minute)},
		"Bedrock not ready":  {"back", "openai", openai.Behavior{}, fake.Fail(fake.ModelNotReady)},
		"Bedrock refuses us": {"back", "openai", openai.Behavior{}, fake.Fail(fake.AccessDenied)},
		"Bedrock expired":    {"back", "openai", openai.Behavior{}, fake.Fail(fake.ExpiredToken)},
		"Bedrock timed out":  {"back", "openai", openai.Behavior{}, fake.Fail(fake.ModelTimeout)},
		"Bedrock failing":    {"back", "openai", openai.Behavior{}, fake.Fail(fake.Internal)},
		"Bedrock resets":     {"back", "openai", openai.Behavior{}, fake.NoAnswer(fake.Reset)},
		"Bedrock's quota":    {"back", "openai", openai.Behavior{}, fake.Fail(fake.QuotaExceeded)},
		"Bedrock's model":    {"back", "openai", openai.Behavior{}, fake.Fail(fake.ModelError)},
	} {
		t.Run(name, func(t *testing.T) {
			h.openai.Always(c.openai)
			h.bedrock.Always(c.bedrock)
			defer h.openai.Always(openai.Behavior{})
			defer h.bedrock.Always(fake.Behavior{})
			for _, more := range []string{"", streaming} {
				r, text := h.ask(t, hello(c.model, more))
				require.Equal(t, 200, r.StatusCode, text)
				assert.Equal(t, c.answered, r.Header.Get("X-Postern-Provider"))
				assert.Equal(t, "2", r.Header.Get("X-Postern-Attempts"), "the first was asked, and failed")
				assert.Empty(t, r.Header.Get("X-Postern-Form"))
				if more != "" {
					assert.True(t, strings.HasSuffix(text, "data: [DONE]\n\n"), text)
				} else {
					assert.Equal(t, "You said: hello there", gjson.Get(text, "choices.0.message.content").String())
				}
			}
		})
	}
	h.bedrock.NoRefusals(t)
}

// TestGroupsThatCannotServeAreLeftOut before a request is routed.
func TestGroupsThatCannotServeAreLeftOut(t *testing.T) {
	h := build(t, mixed+steady)
	tool := `"tools":[{"type":"function","function":{"name":"search"}}]`
	ask := func(model, more string) (provider, at string) {
		t.Helper()
		r, text := h.ask(t, hello(model, more))
		require.Equal(t, 200, r.StatusCode, text)
		return r.Header.Get("X-Postern-Provider"), r.Header.Get("X-Postern-Model")
	}
	for range 5 {
		_, at := ask("weak", "")
		assert.Equal(t, titan, at, "it can do that")
		_, at = ask("weak", tool)
		assert.Equal(t, claude, at, "Titan has no tools")
		provider, _ := ask("weak", `"n":2`)
		assert.Equal(t, "openai", provider, "Bedrock gives one answer")
		provider, _ = ask("back", `"seed":7`)
		assert.Equal(t, "openai", provider)
		_, at = ask("split", tool)
		assert.Equal(t, nova, at, "of a group, those that can")
	}
	assert.Equal(t, "gpt-9", h.openai.Last().JSON("model").String())

	h.bedrock.Always(fake.Throttled(0))
	asked := h.bedrock.Counts().Requests
	provider, _ := ask("weak", tool)
	assert.Equal(t, "openai", provider, "what is left fails over as ever")
	assert.Equal(t, asked+1, h.bedrock.Counts().Requests, "one of two was left")
	assert.Equal(t, claude, h.bedrock.Last().Model)
	h.bedrock.Always(fake.Behavior{})

	r, text := h.ask(t, hello("poor", `"n":2`))
	assert.Equal(t, http.StatusBadRequest, r.StatusCode, text)
	assert.Equal(t, "n", gjson.Get(text, "error.param").String(), "nobody can: the field is named")
	r, text = h.ask(t, hello("poor", `"response_format":{"type":"json_object"}`))
	assert.Equal(t, http.StatusBadRequest, r.StatusCode, text)
	assert.Equal(t, "response_format.type", gjson.Get(text, "error.param").String())

	_, at := ask("aws/"+nova, tool)
	t.Log(at)
	assert.Equal(t, nova, h.bedrock.Last().Model, "a pattern's star is the model's id")
	h.bedrock.NoRefusals(t)
}

// TestImagesGoFirstToWhoTakesAddresses: one that has to be fetched, by an attempt that may
// fail of it, is the last resort.
func TestImagesGoFirstToWhoTakesAddresses(t *testing.T) {
	h := build(t, mixed+steady)
	lost := strings.Replace(picture("https://images.example.com/lost.png"), `"haiku"`, `"back"`, 1)
	r, text := h.ask(t, lost)
	require.Equal(t, 200, r.StatusCode, text)
	assert.Equal(t, "openai", r.Header.Get("X-Postern-Provider"))
	assert.Equal(t, "1", r.Header.Get("X-Postern-Attempts"))
	assert.Equal(t, "https://images.example.com/lost.png", h.openai.Last().JSON("messages.0.content.0.image_url.url").String())
	assert.Zero(t, h.bedrock.Counts().Requests)

	r, text = h.ask(t, strings.Replace(picture("data:image/png;base64,"+pngOf(64)), `"haiku"`, `"back"`, 1))
	require.Equal(t, 200, r.StatusCode, text)
	assert.Equal(t, "aws", r.Header.Get("X-Postern-Provider"), "one that is here needs no address")

	h.openai.Always(openai.Status(503))
	r, text = h.ask(t, lost)
	assert.Equal(t, "messages[0].content[0].image_url", gjson.Get(text, "error.param").String(), "then it is tried, and here it fails: %d %s", r.StatusCode, text)
	assert.GreaterOrEqual(t, r.StatusCode, 400)
	assert.Equal(t, 2, h.openai.Counts().Requests)
}

// TestTokensAreExact: what Bedrock counted is what is told, asked for or not.
func TestTokensAreExact(t *testing.T) {
	h := build(t, mixed+only("haiku", claude))
	ids := map[string]struct{ input, output int64 }{}
	for name, c := range map[string]struct {
		body          string
		input, output int64
	}{
		"plain":    {hello("haiku", ""), 2, 4},
		"streamed": {hello("haiku", `"stream":true`), 2, 4},
		"cached":   {said("haiku", "fake:cached", `"stream":true`), 1 + 30 + 12, 3},
		"over":     {hello("back", ""), 2, 4},
	} {
		r, text := h.ask(t, c.body, "X-Request-Id", "tokens-"+name)
		require.Equal(t, 200, r.StatusCode, text)
		ids["tokens-"+name] = struct{ input, output int64 }{c.input, c.output}
	}
	h.ask(t, said("haiku", "fake:exception-middle one two three", streaming), "X-Request-Id", "tokens-failed")
	seen := func(id string) gjson.Result {
		_, text := h.Request(t.Context(), t, http.MethodGet, "/v1/usage/"+id, "")
		if !json.Valid([]byte(text)) {
			return gjson.Result{}
		}
		return gjson.Parse(text)
	}
	for id, want := range ids {
		require.Eventually(t, func() bool { return seen(id).Get("status").Int() == 200 }, 10*time.Second, 50*time.Millisecond, id)
		got := seen(id)
		t.Log(id, got.Raw)
		assert.Equal(t, want.input, got.Get("tokens.input").Int(), id)
		assert.Equal(t, want.output, got.Get("tokens.output").Int(), id)
		assert.False(t, got.Get("tokens.estimated").Bool(), id)
		assert.Equal(t, claude, got.Get("attempts.0.model").String(), id)
		assert.Equal(t, "chat", got.Get("endpoint").String(), id)
		assert.NotEmpty(t, got.Get("cost_usd").String(), id)
	}
	assert.EqualValues(t, 30, seen("tokens-cached").Get("tokens.cached").Int())
	assert.EqualValues(t, 12, seen("tokens-cached").Get("tokens.written").Int())
	require.Eventually(t, func() bool { return seen("tokens-failed").Get("status").Exists() }, 10*time.Second, 50*time.Millisecond)
	assert.Equal(t, "provider", seen("tokens-failed").Get("blame").String())
}
