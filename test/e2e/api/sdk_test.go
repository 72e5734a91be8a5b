package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	oai "github.com/openai/openai-go/v3/shared"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// clientFor is OpenAI's own client with its base URL changed and nothing else.
func (h *house) clientFor(t *testing.T, key string) sdk.Client {
	t.Helper()
	return sdk.NewClient(option.WithBaseURL(h.URL+"/v1"), option.WithAPIKey(key),
		option.WithHTTPClient(clientOf(t, false, nil)), option.WithMaxRetries(0))
}

func question(model, text string) sdk.ChatCompletionNewParams {
	return sdk.ChatCompletionNewParams{Model: model, Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage(text)}}
}

// answerers are models that answer well: a provider over the network, and the one
// inside.
var answerers = []string{"main", "demo"}

func TestSDKChat(t *testing.T) {
	h := shared(t)
	c := h.clientFor(t, h.Key)
	for _, model := range answerers {
		t.Run(model, func(t *testing.T) {
			params := question(model, "hello there")
			completion, err := c.Chat.Completions.New(t.Context(), params)
			require.NoError(t, err)
			assert.NotEmpty(t, completion.Choices[0].Message.Content)
			assert.Equal(t, "stop", completion.Choices[0].FinishReason)
			assert.Equal(t, model, completion.Model)
			assert.Positive(t, completion.Usage.TotalTokens)

			params.StreamOptions = sdk.ChatCompletionStreamOptionsParam{IncludeUsage: param.NewOpt(true)}
			stream := c.Chat.Completions.NewStreaming(t.Context(), params)
			var all sdk.ChatCompletionAccumulator
			chunks := 0
			for ; stream.Next(); chunks++ {
				require.True(t, all.AddChunk(stream.Current()))
			}
			require.NoError(t, stream.Err())
			require.NoError(t, stream.Close())
			assert.Greater(t, chunks, 3)
			assert.Equal(t, completion.Choices[0].Message.Content, all.Choices[0].Message.Content)
			assert.Equal(t, completion.Usage.TotalTokens, all.Usage.TotalTokens)
		})
	}
}

func TestSDKTools(t *testing.T) {
	h := shared(t)
	c := h.clientFor(t, h.Key)
	for _, model := range answerers {
		t.Run(model, func(t *testing.T) {
			params := question(model, "please call a tool")
			params.Tools = []sdk.ChatCompletionToolUnionParam{sdk.ChatCompletionFunctionTool(oai.FunctionDefinitionParam{
				Name: "search", Parameters: oai.FunctionParameters{"type": "object", "properties": map[string]any{"q": map[string]any{"type": "string"}}},
			})}
			params.ToolChoice = sdk.ToolChoiceOptionFunctionToolChoice(sdk.ChatCompletionNamedToolChoiceFunctionParam{Name: "search"})
			completion, err := c.Chat.Completions.New(t.Context(), params)
			require.NoError(t, err)
			require.Len(t, completion.Choices[0].Message.ToolCalls, 1)
			call := completion.Choices[0].Message.ToolCalls[0]
			assert.Equal(t, "search", call.Function.Name)
			assert.True(t, json.Valid([]byte(call.Function.Arguments)))

			params.Messages = append(params.Messages, completion.Choices[0].Message.ToParam(), sdk.ToolMessage("found it", call.ID))
			params.ToolChoice = sdk.ChatCompletionToolChoiceOptionUnionParam{}
			completion, err = c.Chat.Completions.New(t.Context(), params)
			require.NoError(t, err)
			assert.Equal(t, "stop", completion.Choices[0].FinishReason)
		})
	}
	assert.Equal(t, "search", h.main.Last().JSON("tools.0.function.name").String())
}

func TestSDKStructuredOutput(t *testing.T) {
	h := shared(t)
	params := question("main", "hello")
	schema := map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}
	params.ResponseFormat = sdk.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &oai.ResponseFormatJSONSchemaParam{
		JSONSchema: oai.ResponseFormatJSONSchemaJSONSchemaParam{Name: "person", Schema: schema, Strict: param.NewOpt(true)},
	}}
	client := h.clientFor(t, h.Key)
	_, err := client.Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	wanted, err := json.Marshal(schema)
	require.NoError(t, err)
	assert.JSONEq(t, string(wanted), h.main.Last().JSON("response_format.json_schema.schema").Raw)
	assert.True(t, h.main.Last().JSON("response_format.json_schema.strict").Bool())
}

func TestSDKCompletions(t *testing.T) {
	h := shared(t)
	c := h.clientFor(t, h.Key)
	for _, model := range answerers {
		t.Run(model, func(t *testing.T) {
			params := sdk.CompletionNewParams{Model: sdk.CompletionNewParamsModel(model), Prompt: sdk.CompletionNewParamsPromptUnion{OfString: param.NewOpt("once upon")}}
			completion, err := c.Completions.New(t.Context(), params)
			require.NoError(t, err)
			stream := c.Completions.NewStreaming(t.Context(), params)
			text := ""
			for stream.Next() {
				if choices := stream.Current().Choices; len(choices) > 0 {
					text += choices[0].Text
				}
			}
			require.NoError(t, stream.Err())
			require.NoError(t, stream.Close())
			assert.Equal(t, completion.Choices[0].Text, text)
			assert.NotEmpty(t, text)
		})
	}
}

func TestSDKEmbeddings(t *testing.T) {
	h := shared(t)
	c := h.clientFor(t, h.Key)
	for _, model := range answerers {
		t.Run(model, func(t *testing.T) {
			params := sdk.EmbeddingNewParams{Model: model, Input: sdk.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}}}
			floats, err := c.Embeddings.New(t.Context(), params)
			require.NoError(t, err)
			require.Len(t, floats.Data, 2)
			assert.NotEqual(t, floats.Data[0].Embedding, floats.Data[1].Embedding)
			params.EncodingFormat = sdk.EmbeddingNewParamsEncodingFormatBase64
			packed, err := c.Embeddings.New(t.Context(), params)
			require.NoError(t, err)
			assert.Contains(t, strings.ReplaceAll(packed.RawJSON(), " ", ""), `"embedding":"`)
		})
	}
}

func TestSDKResponses(t *testing.T) {
	h := shared(t)
	c := h.clientFor(t, h.Key)
	for _, model := range answerers {
		t.Run(model, func(t *testing.T) {
			params := responses.ResponseNewParams{Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("good day")}}
			response, err := c.Responses.New(t.Context(), params)
			require.NoError(t, err)
			assert.NotEmpty(t, response.OutputText())
			stream := c.Responses.NewStreaming(t.Context(), params)
			text, completed := "", ""
			for stream.Next() {
				switch event := stream.Current(); event.Type {
				case "response.output_text.delta":
					text += event.Delta
				case "response.completed":
					completed = event.Response.OutputText()
				}
			}
			require.NoError(t, stream.Err())
			require.NoError(t, stream.Close())
			assert.Equal(t, response.OutputText(), text)
			assert.Equal(t, text, completed)
		})
	}
}

func TestSDKModels(t *testing.T) {
	h := shared(t)
	c := h.clientFor(t, h.Key)
	list, err := c.Models.List(t.Context())
	require.NoError(t, err)
	var names []string
	for _, m := range list.Data {
		names = append(names, m.ID)
		assert.Equal(t, "model", string(m.Object))
	}
	assert.Equal(t, []string{"babble", "dead", "demo", "hangup", "main", "pair", "quick", "slam", "split", "sure"}, names)
	one, err := c.Models.Get(t.Context(), "main")
	require.NoError(t, err)
	assert.Equal(t, "main", one.ID)
	_, err = c.Models.Get(t.Context(), "no-such-model")
	assert.Equal(t, http.StatusNotFound, refusal(t, err).StatusCode)
	assert.Equal(t, "model_not_found", refusal(t, err).Code)
	assert.Zero(t, h.main.Counts().Requests, "the gate knows its models itself")
}

func refusal(t *testing.T, err error) *sdk.Error {
	t.Helper()
	var e *sdk.Error
	require.ErrorAs(t, err, &e)
	return e
}

func TestSDKErrors(t *testing.T) {
	h := shared(t)
	limited := h.key(t, "five", time.Now())
	for range 5 {
		good := h.clientFor(t, limited)
		_, err := good.Chat.Completions.New(t.Context(), question("main", "hello"))
		require.NoError(t, err)
	}
	for name, test := range map[string]struct {
		key, model string
		status     int
		code       string
	}{
		"wrong key":     {"sk-wrong", "main", http.StatusUnauthorized, "invalid_api_key"},
		"no such model": {h.Key, "no-such-model", http.StatusNotFound, "model_not_found"},
		"no such name":  {h.Key, "no\tname", http.StatusBadRequest, "invalid_request"},
		"limited":       {limited, "main", http.StatusTooManyRequests, "rate_limit_exceeded"},
		"unreachable":   {h.Key, "dead", http.StatusBadGateway, "provider_unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			c := h.clientFor(t, test.key)
			_, err := c.Chat.Completions.New(t.Context(), question(test.model, "hello"))
			e := refusal(t, err)
			assert.Equal(t, test.status, e.StatusCode)
			assert.Equal(t, test.code, e.Code)
			assert.NotEmpty(t, e.Message)
			stream := c.Chat.Completions.NewStreaming(t.Context(), question(test.model, "hello"))
			assert.False(t, stream.Next())
			assert.Equal(t, test.code, refusal(t, stream.Err()).Code)
		})
	}
}

// TestSDKOtherPaths goes to the default provider by the path alone, uploads included.
func TestSDKOtherPaths(t *testing.T) {
	h := shared(t)
	c := h.clientFor(t, h.Key)
	list, err := c.Files.List(t.Context(), sdk.FileListParams{Limit: param.NewOpt(int64(5))})
	require.NoError(t, err)
	assert.Contains(t, list.RawJSON(), `"query":"limit=5"`)

	sound := bytes.Repeat([]byte("\x00\r\n--\xff"), mebibyte/6)
	heard, err := c.Audio.Transcriptions.New(t.Context(), sdk.AudioTranscriptionNewParams{
		Model: "whisper", File: sdk.File(bytes.NewReader(sound), "speech.mp3", "audio/mpeg"),
	})
	require.NoError(t, err)
	assert.Equal(t, "whisper heard 1048572 bytes of speech.mp3", heard.Text)
	last := h.main.Last()
	assert.Equal(t, "Bearer "+providerKey("main"), last.Header.Get("Authorization"))

	_, err = c.Images.Generate(t.Context(), sdk.ImageGenerateParams{Prompt: "a gate", Model: "dall-e-3"})
	require.NoError(t, err)
	assert.Equal(t, "/v1/images/generations", h.main.Last().Path)
	_, err = c.Moderations.New(t.Context(), sdk.ModerationNewParams{Input: sdk.ModerationNewParamsInputUnion{OfString: param.NewOpt("x")}})
	require.NoError(t, err)
	assert.Equal(t, "/v1/moderations", h.main.Last().Path)
}

// TestBytesReachTheProviderAsTheyAre: what a decoder and an encoder between would
// change.
func TestBytesReachTheProviderAsTheyAre(t *testing.T) {
	h := shared(t)
	odd := ` {
  "z": 1.0, "temperature" : 1e0,	"seed": 12345678901234567890, "big": 1E+2, "tiny": 0.10, "minus": -0,
  "unknown_field": {"b": [1, 2.50, 1e2], "a": null, "": "empty"},
  "text": "\u00e4 \u0041 \/ \" \\ \ud83d\ude00 ä 😀 <&>\u2028",
  "model": "main", "messages": [{"content": "one", "role": "user"}],
  "stream": false}` + "\n"
	for _, l := range []lane{native, found} {
		t.Run(l.name, func(t *testing.T) {
			a := speak(t, h.Address, http.MethodPost, row{request: request{body: odd}}.on(h, l).request)
			require.Equal(t, http.StatusOK, a.status, a.body)
			assert.Equal(t, odd, string(h.main.Last().Body))
		})
	}
	t.Run("other paths", func(t *testing.T) {
		response := h.ask(t, clientOf(t, false, nil), "/v1/images/generations", odd)
		_ = read(t, response)
		assert.Equal(t, odd, string(h.main.Last().Body))
	})
	t.Run("and back", func(t *testing.T) {
		h.main.Always(fake.Behavior{Body: []byte(odd)})
		assert.Equal(t, odd, read(t, h.ask(t, clientOf(t, true, nil), chatPath, chatBody("main", ""))))
	})
}
