package demo_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

func TestBadRequestsAreToldWhichFieldIsWrong(t *testing.T) {
	const hi = `"messages":[{"role":"user","content":"hi"}]`
	for body, want := range map[string]string{ // want: path, then the field
		``:                           chatPath + " ",
		`{`:                          chatPath + " ",
		`[]`:                         chatPath + " ",
		`true`:                       chatPath + " ",
		"{\"a\":\xff":                chatPath + " ",
		`{"model":"` + "\xff" + `"}`: chatPath + " ",
		strings.Repeat("[", 5000) + strings.Repeat("]", 5000):                 chatPath + " ",
		`{"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`: chatPath + " ",
		`{}`:                                         chatPath + " model",
		`{"model":7,` + hi + `}`:                     chatPath + " model",
		`{"model":"",` + hi + `}`:                    chatPath + " model",
		`{"model":"m"}`:                              chatPath + " messages",
		`{"model":"m","messages":{}}`:                chatPath + " messages",
		`{"model":"m","messages":[]}`:                chatPath + " messages",
		`{"model":"m","messages":[1]}`:               chatPath + " messages[0]",
		`{"model":"m","messages":[{"role":"king"}]}`: chatPath + " messages[0].role",
		`{"model":"m","messages":[{"role":"user","content":1}]}`:                 chatPath + " messages[0].content",
		`{"model":"m","messages":[{"role":"user","content":[1]}]}`:               chatPath + " messages[0].content",
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]}`: chatPath + " messages[0].content",
		`{"model":"m",` + hi + `,"stream":"yes"}`:                                chatPath + " stream",
		`{"model":"m",` + hi + `,"stream_options":{}}`:                           chatPath + " stream_options",
		`{"model":"m",` + hi + `,"stream":true,"stream_options":1}`:              chatPath + " stream_options",
		`{"model":"m",` + hi + `,"n":9}`:                                         chatPath + " n",
		`{"model":"m",` + hi + `,"n":1.5}`:                                       chatPath + " n",
		`{"model":"m",` + hi + `,"max_tokens":0}`:                                chatPath + " max_tokens",
		`{"model":"m",` + hi + `,"max_completion_tokens":"1"}`:                   chatPath + " max_completion_tokens",
		`{"model":"m",` + hi + `,"tools":{}}`:                                    chatPath + " tools",
		`{"model":"m",` + hi + `,"tools":[{}]}`:                                  chatPath + " tools",
		`{"model":"m",` + hi + `,"tools":[{"type":"function"}]}`:                 chatPath + " tools",
		`{"model":"m",` + hi + `,"tool_choice":1}`:                               chatPath + " tool_choice",
		`{"model":"m",` + hi + `,"tool_choice":"some"}`:                          chatPath + " tool_choice",
		`{"model":"m",` + hi + `,"tool_choice":{"type":"function"}}`:             chatPath + " tool_choice",
		`{"model":"m",` + hi + `,"response_format":"json"}`:                      chatPath + " response_format.type",
		`{"model":"m",` + hi + `,"response_format":{"type":"json_schema"}}`:      chatPath + " response_format",

		`{"model":"r"}`:                                            responsesPath + " input",
		`{"model":"r","input":1}`:                                  responsesPath + " input",
		`{"model":"r","input":[]}`:                                 responsesPath + " input",
		`{"model":"r","input":["x"]}`:                              responsesPath + " input[0]",
		`{"model":"r","input":[{"role":"tool","content":"x"}]}`:    responsesPath + " input[0].role",
		`{"model":"r","input":[{"type":"function_call_output"}]}`:  responsesPath + " input[0].output",
		`{"model":"r","input":"x","previous_response_id":"resp_"}`: responsesPath + " previous_response_id",
		`{"model":"r","input":"x","max_output_tokens":-1}`:         responsesPath + " max_output_tokens",
		`{"model":"r","input":"x","text":{"format":{"type":1}}}`:   responsesPath + " text.format.type",

		`{"model":"c"}`:                                     completionsPath + " prompt",
		`{"model":"c","prompt":{}}`:                         completionsPath + " prompt",
		`{"model":"c","prompt":[]}`:                         completionsPath + " prompt",
		`{"model":"c","prompt":["x",1]}`:                    completionsPath + " prompt",
		`{"model":"c","prompt":[[]]}`:                       completionsPath + " prompt",
		`{"model":"e"}`:                                     embeddingsPath + " input",
		`{"model":"e","input":""}`:                          embeddingsPath + " input",
		`{"model":"e","input":[1,"x"]}`:                     embeddingsPath + " input",
		`{"model":"e","input":"x","dimensions":0}`:          embeddingsPath + " dimensions",
		`{"model":"e","input":"x","encoding_format":"hex"}`: embeddingsPath + " encoding_format",
	} {
		path, param, _ := strings.Cut(want, " ")
		status, text := post(t, path, body)
		assert.Equal(t, http.StatusBadRequest, status, body)
		assert.Equal(t, "invalid_request_error", gjson.Get(text, "error.type").Str, body)
		assert.Equal(t, param, gjson.Get(text, "error.param").String(), body)
		assert.NotEmpty(t, gjson.Get(text, "error.message").Str, body)
	}
	var many strings.Builder
	many.WriteString(`{"model":"e","input":["x"` + strings.Repeat(`,"x"`, 2048) + `]}`)
	status, text := post(t, embeddingsPath, many.String())
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Equal(t, "input", gjson.Get(text, "error.param").Str)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	for request, want := range map[string]int{
		"POST /v1/images/generations": 404,
		"POST /v1/chat/completions/":  404,
		"POST /":                      404,
		"GET /v1/models":              404,
		"GET /v1/chat/completions":    405,
		"DELETE /v1/embeddings":       405,
		"OPTIONS /v1/responses":       405,
	} {
		method, path, _ := strings.Cut(request, " ")
		recorder := httptest.NewRecorder()
		model().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		assert.Equal(t, want, recorder.Code, request)
		assert.Equal(t, "application/json", recorder.Header().Get("Content-Type"))
		assert.True(t, gjson.Get(recorder.Body.String(), "error.code").Exists(), request)
		if want == http.StatusMethodNotAllowed {
			assert.Equal(t, "POST", recorder.Header().Get("Allow"))
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("10.0.0.7: connection reset") }

func TestBodiesThatCannotBeRead(t *testing.T) {
	recorder := httptest.NewRecorder()
	model().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, chatPath, endless{}))
	assert.Equal(t, http.StatusRequestEntityTooLarge, recorder.Code)

	recorder = httptest.NewRecorder()
	model().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, chatPath, broken{}))
	assert.Equal(t, http.StatusBadRequest, recorder.Code)
	assert.NotContains(t, recorder.Body.String(), "10.0.0.7")

	recorder = httptest.NewRecorder()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, chatPath, strings.NewReader("{}"))
	request.Header.Set("Content-Encoding", "gzip")
	model().ServeHTTP(recorder, request)
	assert.Equal(t, http.StatusUnsupportedMediaType, recorder.Code)
}

func TestTheSDKUnderstandsErrors(t *testing.T) {
	client := sdk(t)
	_, err := client.Chat.Completions.New(within(t), openai.ChatCompletionNewParams{Model: "demo"})
	var e *openai.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, http.StatusBadRequest, e.StatusCode)
	assert.Equal(t, "messages", e.Param)

	events := client.Chat.Completions.NewStreaming(within(t), openai.ChatCompletionNewParams{Model: "demo"})
	assert.False(t, events.Next())
	require.ErrorAs(t, events.Err(), &e)
	assert.Equal(t, http.StatusBadRequest, e.StatusCode)
}
