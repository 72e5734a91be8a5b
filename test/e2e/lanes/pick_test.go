package lanes_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// What a model cannot do goes to one that can, whatever the order of the groups is.
func TestARequestGoesToWhoCanServeIt(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, `
  able:
    route:
      - [{provider: one, without: [images, tools], context: 1000}]
      - [{provider: two}]
  four:
    route:
      - [{provider: one, without: [tools]}, {provider: one, model: other, without: [tools]}]
      - [{provider: two}]
      - [{provider: one, model: third, without: [tools]}]
  three:
    route:
      - [{provider: one, without: [tools]}]
      - [{provider: two}]
      - [{provider: one, model: other}]
  unable:
    route: [[{provider: one, without: [tools]}]]
`)})
	const (
		image = `{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}`
		tools = `,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]`
		hello = `{"role":"user","content":"Hello"}`
	)
	for name, test := range map[string]struct {
		message, more string
		want          *fake.Server
	}{
		"plain":  {hello, "", one},
		"maybe":  {fmt.Sprintf(`{"role":"user","content":%q}`, strings.Repeat("responsibility ", 400)), "", two},
		"fits":   {fmt.Sprintf(`{"role":"user","content":%q}`, strings.Repeat("word ", 800)), "", one},
		"image":  {image, "", two},
		"tools":  {hello, tools, two},
		"long":   {fmt.Sprintf(`{"role":"user","content":%q}`, strings.Repeat("word ", 2000)), "", two},
		"answer": {hello, `,"max_tokens":5000`, two},
	} {
		t.Run(name, func(t *testing.T) {
			before := test.want.Counts().Requests
			response, body := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions",
				fmt.Sprintf(`{"model":"able","messages":[%s]%s}`, test.message, test.more))
			require.Equal(t, http.StatusOK, response.StatusCode, body)
			assert.Equal(t, before+1, test.want.Counts().Requests)
		})
	}
	for name, fails := range map[string]fake.Behavior{
		"busy": fake.Status(http.StatusTooManyRequests), "failing": fake.Status(http.StatusServiceUnavailable), "resetting": fake.NoAnswer(fake.Reset),
	} {
		t.Run("and, "+name+", is asked once", func(t *testing.T) {
			two.Always(fails)
			for model, others := range map[string]int{"able": 0, "four": 0, "three": 1} {
				before, wasTwo := one.Counts().Requests, two.Counts().Requests
				response, body := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions",
					fmt.Sprintf(`{"model":%q,"messages":[%s]%s}`, model, hello, tools))
				assert.Equal(t, before+others, one.Counts().Requests, "%s: who cannot is not asked", model)
				assert.Equal(t, wasTwo+1, two.Counts().Requests, "%s: %d %s", model, response.StatusCode, body)
				assert.Equal(t, others == 0, response.StatusCode >= 400, body)
				assert.Equal(t, strconv.Itoa(others+1), response.Header.Get("X-Postern-Attempts"))
			}
			two.Reset()
		})
	}
	assert.Empty(t, two.Last().Header.Get("X-Envoy-Max-Retries"), "it stays between Postern and Envoy")
	ask := func(t *testing.T, message, more string) (*http.Response, string) {
		t.Helper()
		one.Reset()
		return g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions",
			fmt.Sprintf(`{"model":"able","messages":[%s]%s}`, message, more))
	}
	t.Run("one that may be able is the last hope", func(t *testing.T) {
		two.Reset()
		two.Always(fake.Status(http.StatusServiceUnavailable))
		response, body := ask(t, fmt.Sprintf(`{"role":"user","content":%q}`, strings.Repeat("responsibility ", 400)), "")
		require.Equal(t, http.StatusOK, response.StatusCode, body)
		assert.Equal(t, []string{"one"}, response.Header["X-Postern-Provider"])
		assert.Equal(t, []string{"2"}, response.Header["X-Postern-Attempts"])
		assert.Equal(t, 1, two.Counts().Requests)
	})
	t.Run("the only one that can fails", func(t *testing.T) {
		two.Reset()
		two.Always(fake.Status(http.StatusServiceUnavailable))
		response, body := ask(t, hello, tools)
		assert.Equal(t, http.StatusServiceUnavailable, response.StatusCode, body)
		assert.Contains(t, body, "told to answer 503", "it is told what that one said")
		assert.Equal(t, []string{"two"}, response.Header["X-Postern-Provider"])
		assert.Zero(t, one.Counts().Requests, "it cannot")
		assert.Equal(t, 1, two.Counts().Requests)
	})
	t.Run("the only one that can is dead", func(t *testing.T) {
		two.Reset()
		two.Refuse()
		response, body := ask(t, hello, tools)
		assert.Equal(t, http.StatusBadGateway, response.StatusCode, body)
		assert.Contains(t, body, `"code":"provider_unreachable"`)
		assert.Equal(t, []string{"false"}, response.Header["X-Should-Retry"])
		assert.Zero(t, one.Counts().Requests, "it cannot")
		require.NoError(t, two.Resume())
	})
	t.Run("nobody can", func(t *testing.T) {
		response, body := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions",
			fmt.Sprintf(`{"model":"unable","messages":[%s]%s}`, hello, tools))
		assert.Equal(t, http.StatusBadRequest, response.StatusCode)
		assert.Contains(t, body, `"param":"tools"`)
	})
}

// With prefer: cost a request whose body is read goes to who is cheapest for it: short
// questions have long answers, and documents short ones.
func TestARequestGoesToWhoIsCheapestForIt(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, `
  dear: {prefer: cost, usage: exact, route: [[{provider: one}], [{provider: two}]]}
  blind: {prefer: cost, route: [[{provider: one}], [{provider: two}]]}
prices:
  one/dear: {input: 1, output: 20}
  two/dear: {input: 5, output: 10}
  one/blind: {input: 1, output: 20}
  two/blind: {input: 5, output: 10}
`)})
	question, document := "Why?", strings.Repeat("word ", 4000)
	for name, test := range map[string]struct {
		model, content, more, want string
	}{
		"a question":                  {"dear", question, "", "two"},
		"a question, streamed":        {"dear", question, `,"stream":true`, "two"},
		"a document":                  {"dear", document, "", "one"},
		"and a short answer":          {"dear", strings.Repeat("word ", 100), `,"max_tokens":1`, "one"},
		"nobody reads the question":   {"blind", question, "", "one"}, // 3 in, 1 out: 23 and 25
		"nobody reads the document":   {"blind", document, "", "one"},
		"a question, in many answers": {"dear", strings.Repeat("word ", 1000), `,"n":4`, "two"},
	} {
		t.Run(name, func(t *testing.T) {
			one.Reset()
			two.Reset()
			response, body := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions",
				fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]%s}`, test.model, test.content, test.more))
			require.Equal(t, http.StatusOK, response.StatusCode, body)
			counts := map[string]int{"one": one.Counts().Requests, "two": two.Counts().Requests}
			assert.Equal(t, map[string]int{"one": 0, "two": 0, test.want: 1}, counts)
		})
	}
	t.Run("and then to the next", func(t *testing.T) {
		two.Always(fake.Status(http.StatusServiceUnavailable))
		response, body := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions", chat("dear"))
		require.Equal(t, http.StatusOK, response.StatusCode, body)
		assert.Equal(t, []string{"one"}, response.Header["X-Postern-Provider"])
	})
}
