package bedrock_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answerer is a model as the gate calls it, and what it can do. What it cannot is refused,
// by the name of the field.
type answerer struct {
	name, provider string // openai, or the family's id at Bedrock
	can            []string
}

func (a answerer) does(what string) bool { return slices.Contains(a.can, what) }

// answerers are OpenAI and each family, with the differences that docs/providers.md lists.
var answerers = []answerer{
	{"oai", "openai", []string{"system", "tools", "force", "stream-tools", "images", "json", "stop"}},
	{"claude", claude, []string{"system", "tools", "force", "stream-tools", "images", "json", "stop"}},
	{"nova", nova, []string{"system", "tools", "force", "stream-tools", "images", "json", "stop"}},
	{"llama", llama, []string{"system", "tools"}},
	{"scout", sight, []string{"system", "tools", "images"}},
	{"titan", titan, []string{"system"}}, // it has none, and gets it in front of the user's words
}

// parity is a gate with all of them.
func parity(t *testing.T) *house {
	t.Helper()
	var models strings.Builder
	for _, a := range answerers {
		if a.provider == "openai" {
			fmt.Fprintf(&models, "  %s: {route: [[{provider: openai}]]}\n", a.name)
			continue
		}
		models.WriteString(only(a.name, a.provider))
	}
	models.WriteString(only("embed", embed))
	models.WriteString("  oai-embed: {route: [[{provider: openai}]]}\n")
	return build(t, models.String())
}

func (h *house) client(t *testing.T) sdk.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return sdk.NewClient(option.WithBaseURL(h.URL+"/v1"), option.WithAPIKey(h.Key),
		option.WithHTTPClient(&http.Client{Transport: transport}), option.WithMaxRetries(0))
}

func question(model, text string) sdk.ChatCompletionNewParams {
	return sdk.ChatCompletionNewParams{Model: model, Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage(text)}}
}

// TestOneAssertionFitsAll asks OpenAI and each family of Bedrock the same, with OpenAI's
// own client, and cannot tell them apart.
func TestOneAssertionFitsAll(t *testing.T) {
	h := parity(t)
	c := h.client(t)
	for _, a := range answerers {
		for name, check := range checks {
			t.Run(a.name+"/"+name, func(t *testing.T) { check(t, c, a) })
		}
	}
	t.Run("embeddings", func(t *testing.T) { embeddings(t, c) })
	h.bedrock.NoRefusals(t)
}

var checks = map[string]func(*testing.T, sdk.Client, answerer){
	"chat": chat, "stream": stream, "conversation": conversation, "system": system, "tools": tools, "streamed tools": streamedTools,
	"forced tool": forcedTool, "images": images, "json": jsonSchema, "limits": limits, "stop": stop, "refusals": refusals,
	"completions": completions, "responses": response, "streamed responses": streamedResponse,
}

func chat(t *testing.T, c sdk.Client, a answerer) {
	completion, err := c.Chat.Completions.New(t.Context(), question(a.name, "hello there"))
	require.NoError(t, err)
	require.Len(t, completion.Choices, 1)
	assert.Equal(t, "You said: hello there", completion.Choices[0].Message.Content)
	assert.EqualValues(t, "assistant", completion.Choices[0].Message.Role)
	assert.Equal(t, "stop", completion.Choices[0].FinishReason)
	assert.Equal(t, a.name, completion.Model)
	assert.EqualValues(t, "chat.completion", completion.Object)
	assert.True(t, strings.HasPrefix(completion.ID, "chatcmpl-"), completion.ID)
	assert.EqualValues(t, 2, completion.Usage.PromptTokens)
	assert.EqualValues(t, 4, completion.Usage.CompletionTokens)
	assert.EqualValues(t, 6, completion.Usage.TotalTokens)
}

// collect reads a stream to its end.
func collect(t *testing.T, c sdk.Client, params sdk.ChatCompletionNewParams) (all sdk.ChatCompletionAccumulator, chunks []sdk.ChatCompletionChunk) {
	t.Helper()
	stream := c.Chat.Completions.NewStreaming(t.Context(), params)
	for stream.Next() {
		require.True(t, all.AddChunk(stream.Current()))
		chunks = append(chunks, stream.Current())
	}
	require.NoError(t, stream.Err())
	require.NoError(t, stream.Close())
	return all, chunks
}

func stream(t *testing.T, c sdk.Client, a answerer) {
	params := question(a.name, "hello there, one two three")
	all, chunks := collect(t, c, params)
	assert.Greater(t, len(chunks), 4)
	assert.Equal(t, "You said: hello there, one two three", all.Choices[0].Message.Content)
	assert.Equal(t, "stop", all.Choices[0].FinishReason)
	assert.Equal(t, a.name, all.Model)
	assert.Zero(t, all.Usage.TotalTokens, "nobody asked for it")
	assert.Equal(t, "assistant", chunks[0].Choices[0].Delta.Role)
	for _, chunk := range chunks {
		assert.Equal(t, chunks[0].ID, chunk.ID)
		require.Len(t, chunk.Choices, 1)
	}

	params.StreamOptions = sdk.ChatCompletionStreamOptionsParam{IncludeUsage: param.NewOpt(true)}
	all, chunks = collect(t, c, params)
	assert.EqualValues(t, 5, all.Usage.PromptTokens)
	assert.EqualValues(t, 7, all.Usage.CompletionTokens)
	assert.EqualValues(t, 12, all.Usage.TotalTokens)
	assert.Empty(t, chunks[len(chunks)-1].Choices, "the usage is the last chunk")
}

func conversation(t *testing.T, c sdk.Client, a answerer) {
	params := question(a.name, "first")
	completion, err := c.Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	params.Messages = append(params.Messages, completion.Choices[0].Message.ToParam(), sdk.UserMessage("second"))
	completion, err = c.Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	assert.Equal(t, "You said: second", completion.Choices[0].Message.Content)
	assert.EqualValues(t, 1+3+1, completion.Usage.PromptTokens)
}

func system(t *testing.T, c sdk.Client, a answerer) {
	params := question(a.name, "hello")
	params.Messages = append([]sdk.ChatCompletionMessageParamUnion{sdk.SystemMessage("be brief")}, params.Messages...)
	completion, err := c.Chat.Completions.New(t.Context(), params)
	if !a.does("system") {
		refused(t, err, "messages[0]")
		return
	}
	require.NoError(t, err)
	assert.Contains(t, completion.Choices[0].Message.Content, "hello")
	assert.EqualValues(t, 3, completion.Usage.PromptTokens)
}

var search = sdk.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
	Name: "search", Description: param.NewOpt("Finds products."),
	Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"q": map[string]any{"type": "string"}}},
})

func toolQuestion(model string) sdk.ChatCompletionNewParams {
	params := question(model, "please call a tool")
	params.Tools = []sdk.ChatCompletionToolUnionParam{search}
	return params
}

func tools(t *testing.T, c sdk.Client, a answerer) {
	params := toolQuestion(a.name)
	completion, err := c.Chat.Completions.New(t.Context(), params)
	if !a.does("tools") {
		refused(t, err, "tools")
		return
	}
	require.NoError(t, err)
	assert.Equal(t, "tool_calls", completion.Choices[0].FinishReason)
	require.Len(t, completion.Choices[0].Message.ToolCalls, 1)
	call := completion.Choices[0].Message.ToolCalls[0]
	assert.Equal(t, "search", call.Function.Name)
	assert.JSONEq(t, `{"tools":["search"]}`, call.Function.Arguments)

	params.Messages = append(params.Messages, completion.Choices[0].Message.ToParam(), sdk.ToolMessage("found it", call.ID))
	completion, err = c.Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	assert.Equal(t, "stop", completion.Choices[0].FinishReason)
	assert.NotEmpty(t, completion.Choices[0].Message.Content)
}

func streamedTools(t *testing.T, c sdk.Client, a answerer) {
	if !a.does("stream-tools") {
		stream := c.Chat.Completions.NewStreaming(t.Context(), toolQuestion(a.name))
		assert.False(t, stream.Next())
		refused(t, stream.Err(), "tools")
		require.NoError(t, stream.Close())
		return
	}
	all, chunks := collect(t, c, toolQuestion(a.name))
	assert.Greater(t, len(chunks), 3)
	assert.Equal(t, "tool_calls", all.Choices[0].FinishReason)
	require.Len(t, all.Choices[0].Message.ToolCalls, 1)
	call := all.Choices[0].Message.ToolCalls[0]
	assert.Equal(t, "search", call.Function.Name)
	assert.NotEmpty(t, call.ID)
	assert.JSONEq(t, `{"tools":["search"]}`, call.Function.Arguments)
}

func forcedTool(t *testing.T, c sdk.Client, a answerer) {
	params := toolQuestion(a.name)
	params.Messages = []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage("hello")}
	params.ToolChoice = sdk.ToolChoiceOptionFunctionToolChoice(sdk.ChatCompletionNamedToolChoiceFunctionParam{Name: "search"})
	completion, err := c.Chat.Completions.New(t.Context(), params)
	if !a.does("force") {
		field := "tool_choice"
		if !a.does("tools") {
			field = "tools"
		}
		refused(t, err, field)
		return
	}
	require.NoError(t, err)
	require.Len(t, completion.Choices[0].Message.ToolCalls, 1)
	assert.Equal(t, "search", completion.Choices[0].Message.ToolCalls[0].Function.Name)
}

// pixel is the smallest PNG.
const pixel = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func images(t *testing.T, c sdk.Client, a answerer) {
	params := question(a.name, "")
	params.Messages = []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage([]sdk.ChatCompletionContentPartUnionParam{
		sdk.TextContentPart("what is this?"),
		sdk.ImageContentPart(sdk.ChatCompletionContentPartImageImageURLParam{URL: pixel}),
	})}
	completion, err := c.Chat.Completions.New(t.Context(), params)
	if !a.does("images") {
		refused(t, err, "messages[0].content[1].image_url")
		return
	}
	require.NoError(t, err)
	assert.Contains(t, completion.Choices[0].Message.Content, "You said: what is this?") // Bedrock's fake says what it saw
	all, _ := collect(t, c, params)
	assert.Equal(t, completion.Choices[0].Message.Content, all.Choices[0].Message.Content)
}

func jsonSchema(t *testing.T, c sdk.Client, a answerer) {
	params := question(a.name, "hello")
	params.ResponseFormat = sdk.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: "person", Strict: param.NewOpt(true),
			Schema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}, "additionalProperties": false},
		},
	}}
	completion, err := c.Chat.Completions.New(t.Context(), params)
	if !a.does("json") {
		refused(t, err, "response_format")
		return
	}
	require.NoError(t, err)
	assert.Equal(t, "stop", completion.Choices[0].FinishReason)
	assert.NotEmpty(t, completion.Choices[0].Message.Content)
	assert.Empty(t, completion.Choices[0].Message.ToolCalls)
	if a.provider != "openai" { // the fake of OpenAI echoes
		assert.True(t, json.Valid([]byte(completion.Choices[0].Message.Content)))
	}
}

func limits(t *testing.T, c sdk.Client, a answerer) {
	params := question(a.name, "hello")
	params.MaxCompletionTokens = param.NewOpt[int64](100)
	params.Temperature = param.NewOpt(0.5)
	params.User = param.NewOpt("somebody")
	completion, err := c.Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	assert.Equal(t, "You said: hello", completion.Choices[0].Message.Content)
}

func stop(t *testing.T, c sdk.Client, a answerer) {
	params := question(a.name, "hello")
	params.Stop = sdk.ChatCompletionNewParamsStopUnion{OfStringArray: []string{"END"}}
	completion, err := c.Chat.Completions.New(t.Context(), params)
	if !a.does("stop") {
		refused(t, err, "stop")
		return
	}
	require.NoError(t, err)
	assert.Equal(t, "stop", completion.Choices[0].FinishReason)
}

// refusals are what none of the families takes.
func refusals(t *testing.T, c sdk.Client, a answerer) {
	if a.provider == "openai" {
		return
	}
	for field, change := range map[string]func(*sdk.ChatCompletionNewParams){
		"n":                 func(p *sdk.ChatCompletionNewParams) { p.N = param.NewOpt[int64](2) },
		"logprobs":          func(p *sdk.ChatCompletionNewParams) { p.Logprobs = param.NewOpt(true) },
		"seed":              func(p *sdk.ChatCompletionNewParams) { p.Seed = param.NewOpt[int64](7) },
		"frequency_penalty": func(p *sdk.ChatCompletionNewParams) { p.FrequencyPenalty = param.NewOpt(0.5) },
		"something_new":     func(p *sdk.ChatCompletionNewParams) { p.SetExtraFields(map[string]any{"something_new": 1}) },
	} {
		params := question(a.name, "hello")
		change(&params)
		_, err := c.Chat.Completions.New(t.Context(), params)
		refused(t, err, field)
	}
	params := question(a.name, "hello")
	params.SetExtraFields(map[string]any{"top_k": 5})
	_, err := c.Chat.Completions.New(t.Context(), params)
	require.NoError(t, err, "the operator lets it through")
}

func completions(t *testing.T, c sdk.Client, a answerer) {
	params := sdk.CompletionNewParams{Model: sdk.CompletionNewParamsModel(a.name), Prompt: sdk.CompletionNewParamsPromptUnion{OfString: param.NewOpt("once upon")}}
	completion, err := c.Completions.New(t.Context(), params)
	require.NoError(t, err)
	assert.EqualValues(t, "stop", completion.Choices[0].FinishReason)
	assert.Equal(t, a.name, completion.Model)
	assert.Positive(t, completion.Usage.TotalTokens)
	stream, text := c.Completions.NewStreaming(t.Context(), params), ""
	for stream.Next() {
		if choices := stream.Current().Choices; len(choices) > 0 {
			text += choices[0].Text
		}
	}
	require.NoError(t, stream.Err())
	require.NoError(t, stream.Close())
	assert.Equal(t, completion.Choices[0].Text, text)
	assert.NotEmpty(t, text)
}

func response(t *testing.T, c sdk.Client, a answerer) {
	answer, err := c.Responses.New(t.Context(), responsesQuestion(a))
	require.NoError(t, err)
	assert.Equal(t, "You said: good day", answer.OutputText())
	assert.EqualValues(t, "completed", answer.Status)
	assert.Equal(t, a.name, answer.Model)
	assert.EqualValues(t, 6, answer.Usage.TotalTokens)
}

func responsesQuestion(a answerer) responses.ResponseNewParams {
	return responses.ResponseNewParams{Model: a.name, Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("good day")}}
}

func streamedResponse(t *testing.T, c sdk.Client, a answerer) {
	stream := c.Responses.NewStreaming(t.Context(), responsesQuestion(a))
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
	assert.Equal(t, "You said: good day", text)
	assert.Equal(t, text, completed)
}

func embeddings(t *testing.T, c sdk.Client) {
	var first []float64
	for _, model := range []string{"oai-embed", "embed"} {
		params := sdk.EmbeddingNewParams{
			Model: model, Dimensions: param.NewOpt[int64](256),
			Input: sdk.EmbeddingNewParamsInputUnion{OfString: param.NewOpt("some text")},
		}
		answer, err := c.Embeddings.New(t.Context(), params)
		require.NoError(t, err)
		require.Len(t, answer.Data, 1)
		assert.Len(t, answer.Data[0].Embedding, 256)
		assert.Equal(t, model, answer.Model)
		assert.EqualValues(t, 2, answer.Usage.TotalTokens)
		if first == nil {
			first = answer.Data[0].Embedding
		}
		assert.Equal(t, first, answer.Data[0].Embedding)
		params.EncodingFormat = sdk.EmbeddingNewParamsEncodingFormatBase64
		packed, err := c.Embeddings.New(t.Context(), params)
		require.NoError(t, err)
		assert.Contains(t, strings.ReplaceAll(packed.RawJSON(), " ", ""), `"embedding":"`)
	}
}

// refused says that a request got the 400 that names a field.
func refused(t *testing.T, err error, field string) {
	t.Helper()
	var e *sdk.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, http.StatusBadRequest, e.StatusCode, e.Message)
	assert.Equal(t, "invalid_request", e.Code)
	assert.True(t, strings.HasPrefix(e.Param, field), "%s, and not %s: %s", e.Param, field, e.Message)
	assert.NotContains(t, e.Message, "postern")
}

// TestOneAssertionFitsAllInPython is the same with OpenAI's own Python client.
func TestOneAssertionFitsAllInPython(t *testing.T) {
	python := interpreter(t)
	h := parity(t)
	arguments := []string{filepath.Join("..", "..", "python", "openai_client.py"), h.URL + "/v1", h.Key, "-"}
	for _, a := range answerers {
		arguments = append(arguments, a.name+"="+strings.Join(a.can, "+"))
	}
	cmd := exec.CommandContext(t.Context(), python, arguments...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	printed, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", printed)
	t.Logf("%s", printed)
	h.bedrock.NoRefusals(t)
}

// interpreter is a Python that has the official openai package: the one in PYTHON, or
// the one that `make test` sets up.
func interpreter(t *testing.T) string {
	t.Helper()
	python := os.Getenv("PYTHON")
	if python == "" {
		python = filepath.Join("..", "..", "..", ".tools", "python", "bin", "python")
	}
	printed, err := exec.CommandContext(t.Context(), python, "-c", "import openai").CombinedOutput()
	switch {
	case err == nil:
		return python
	case os.Getenv("CI") == "true":
		t.Fatalf("%s needs Python with the openai package (%s): %v\n%s", t.Name(), python, err, printed)
	default:
		t.Skipf("%s needs Python with the openai package (%s): run make test", t.Name(), python)
	}
	return ""
}
