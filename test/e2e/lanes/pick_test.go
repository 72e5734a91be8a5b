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
	t.Run("nobody can", func(t *testing.T) {
		response, body := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions",
			fmt.Sprintf(`{"model":"unable","messages":[%s]%s}`, hello, tools))
		assert.Equal(t, http.StatusBadRequest, response.StatusCode)
		assert.Contains(t, body, `"param":"tools"`)
	})
}
