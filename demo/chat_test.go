package demo_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"
	legacy "github.com/sashabaranov/go-openai"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

const chatPath = "/v1/chat/completions"

func chatParams(messages ...openai.ChatCompletionMessageParamUnion) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: "demo", Messages: messages}
}

func weather() []openai.ChatCompletionToolUnionParam {
	return []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: "weather", Parameters: shared.FunctionParameters{
				"type": "object", "required": []string{"city", "days"},
				"properties": map[string]any{
					"city": map[string]any{"type": "string"},
					"days": map[string]any{"type": "integer"},
					"unit": map[string]any{"type": "string"},
				},
			},
		}),
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "time"}),
	}
}

// stream runs the SDK's accumulator over a stream and gives what it understood.
func stream(t *testing.T, params openai.ChatCompletionNewParams) (openai.ChatCompletion, int) {
	t.Helper()
	client := sdk(t)
	events := client.Chat.Completions.NewStreaming(within(t), params)
	var whole openai.ChatCompletionAccumulator
	chunks := 0
	for events.Next() {
		require.True(t, whole.AddChunk(events.Current()))
		chunks++
	}
	require.NoError(t, events.Err())
	return whole.ChatCompletion, chunks
}

func TestChatThroughTheSDK(t *testing.T) {
	client := sdk(t)
	answer, err := client.Chat.Completions.New(within(t), chatParams(
		openai.SystemMessage("Be kind."), openai.UserMessage("Which shoes fit <me> & you?")))
	require.NoError(t, err)
	require.Len(t, answer.Choices, 1)
	assert.Contains(t, answer.Choices[0].Message.Content, "“Which shoes fit <me> & you?”")
	assert.Equal(t, "stop", answer.Choices[0].FinishReason)
	assert.Equal(t, "demo", answer.Model)
	assert.Equal(t, noon.Unix(), answer.Created)
	assert.EqualValues(t, 8, answer.Usage.PromptTokens)
	assert.EqualValues(t, len(strings.Fields(answer.Choices[0].Message.Content)), answer.Usage.CompletionTokens)
	assert.Equal(t, answer.Usage.PromptTokens+answer.Usage.CompletionTokens, answer.Usage.TotalTokens)
}

func TestAStreamSaysTheSameAsAPlainAnswer(t *testing.T) {
	schema := shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
		Name: "x", Schema: map[string]any{"type": "object", "required": []string{"a"}, "properties": map[string]any{"a": map[string]any{"type": "string"}}},
	}}
	user := openai.UserMessage("one two three")
	for name, params := range map[string]openai.ChatCompletionNewParams{
		"text":    chatParams(user),
		"limited": {Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{user}, MaxCompletionTokens: param.NewOpt[int64](4)},
		"choices": {Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{user}, N: param.NewOpt[int64](3)},
		"tool":    {Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{user}, Tools: weather()},
		"schema": {Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{user},
			ResponseFormat: openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &schema}},
	} {
		t.Run(name, func(t *testing.T) {
			client := sdk(t)
			plain, err := client.Chat.Completions.New(within(t), params)
			require.NoError(t, err)
			params.StreamOptions.IncludeUsage = param.NewOpt(true)
			streamed, chunks := stream(t, params)
			require.Len(t, streamed.Choices, len(plain.Choices))
			for i, choice := range plain.Choices {
				assert.Equal(t, choice.Message.Content, streamed.Choices[i].Message.Content)
				assert.Equal(t, choice.FinishReason, streamed.Choices[i].FinishReason)
				require.Len(t, streamed.Choices[i].Message.ToolCalls, len(choice.Message.ToolCalls))
				for j, call := range choice.Message.ToolCalls {
					assert.Equal(t, call.Function.Name, streamed.Choices[i].Message.ToolCalls[j].Function.Name)
					assert.Equal(t, call.Function.Arguments, streamed.Choices[i].Message.ToolCalls[j].Function.Arguments)
					assert.Equal(t, call.ID, streamed.Choices[i].Message.ToolCalls[j].ID)
				}
			}
			assert.Positive(t, plain.Usage.CompletionTokens)
			assert.Equal(t, plain.Usage.CompletionTokens, streamed.Usage.CompletionTokens)
			assert.Equal(t, plain.Usage.PromptTokens, streamed.Usage.PromptTokens)
			assert.Equal(t, int(plain.Usage.CompletionTokens)+2*len(plain.Choices)+1, chunks, "a chunk a word, first, last, usage")
		})
	}
}

func TestChoicesDiffer(t *testing.T) {
	answer := ask(t, chatPath, `{"model":"m","n":2,"messages":[{"role":"user","content":"hi"}]}`)
	assert.NotEqual(t, answer.Get("choices.0.message.content").Str, answer.Get("choices.1.message.content").Str)
	assert.EqualValues(t, 1, answer.Get("choices.1.index").Int())
}

func TestUsageIsStreamedOnlyWhenAsked(t *testing.T) {
	const body = `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]%s}`
	chunks := listen(t, chatPath, fmt.Sprintf(body, ""))
	require.Equal(t, "[DONE]", chunks[len(chunks)-1])
	for _, chunk := range chunks[:len(chunks)-1] {
		assert.False(t, gjson.Get(chunk, "usage").Exists(), chunk)
		assert.Len(t, gjson.Get(chunk, "choices").Array(), 1)
		assert.Equal(t, "chat.completion.chunk", gjson.Get(chunk, "object").Str)
	}
	assert.Equal(t, "assistant", gjson.Get(chunks[0], "choices.0.delta.role").Str)
	assert.Equal(t, "stop", gjson.Get(chunks[len(chunks)-2], "choices.0.finish_reason").Str)

	chunks = listen(t, chatPath, fmt.Sprintf(body, `,"stream_options":{"include_usage":true}`))
	last := chunks[len(chunks)-2]
	assert.Equal(t, "[]", gjson.Get(last, "choices").Raw)
	assert.Positive(t, gjson.Get(last, "usage.total_tokens").Int())
	assert.Equal(t, gjson.Null, gjson.Get(chunks[0], "usage").Type)
	assert.True(t, gjson.Get(chunks[0], "usage").Exists())
}

func TestALimitedAnswerSaysSo(t *testing.T) {
	for _, field := range []string{"max_tokens", "max_completion_tokens"} {
		answer := ask(t, chatPath, `{"model":"m","`+field+`":3,"messages":[{"role":"user","content":"hi there"}]}`)
		assert.Equal(t, "You said: “hi", answer.Get("choices.0.message.content").Str)
		assert.Equal(t, "length", answer.Get("choices.0.finish_reason").Str)
		assert.EqualValues(t, 3, answer.Get("usage.completion_tokens").Int())
	}
}

func TestAToolIsCalledAndItsResultUsed(t *testing.T) {
	client := sdk(t)
	params := chatParams(openai.UserMessage("Paris"))
	params.Tools = weather()
	first, err := client.Chat.Completions.New(within(t), params)
	require.NoError(t, err)
	assert.Equal(t, "tool_calls", first.Choices[0].FinishReason)
	require.Len(t, first.Choices[0].Message.ToolCalls, 1)
	call := first.Choices[0].Message.ToolCalls[0]
	assert.Equal(t, "weather", call.Function.Name)
	assert.JSONEq(t, `{"city":"Paris","days":1}`, call.Function.Arguments)

	params.Messages = append(params.Messages, first.Choices[0].Message.ToParam(), openai.ToolMessage("21 degrees", call.ID))
	second, err := client.Chat.Completions.New(within(t), params)
	require.NoError(t, err)
	assert.Equal(t, "stop", second.Choices[0].FinishReason)
	assert.Contains(t, second.Choices[0].Message.Content, "21 degrees")
	assert.Empty(t, second.Choices[0].Message.ToolCalls)
}

func TestToolChoice(t *testing.T) {
	const tools = `"tools":[{"type":"custom","custom":{"name":"c"}},{"type":"function","function":{"name":"one"}},{"type":"function","function":{"name":"two"}}]`
	for choice, want := range map[string]string{
		`null`: "one", `"auto"`: "one", `"required"`: "one", `"none"`: "",
		`{"type":"function","function":{"name":"two"}}`: "two",
	} {
		answer := ask(t, chatPath, `{"model":"m","messages":[{"role":"user","content":"hi"}],"tool_choice":`+choice+`,`+tools+`}`)
		assert.Equal(t, want, answer.Get("choices.0.message.tool_calls.0.function.name").Str, choice)
	}
	// Only a user's word leads to a call.
	answer := ask(t, chatPath, `{"model":"m","messages":[{"role":"system","content":"hi"}],`+tools+`}`)
	assert.Equal(t, "stop", answer.Get("choices.0.finish_reason").Str)
}

func TestToolCallDeltas(t *testing.T) {
	chunks := listen(t, chatPath, `{"model":"m","stream":true,"messages":[{"role":"user","content":"in the north"}],
		"tools":[{"type":"function","function":{"name":"f","parameters":{"required":["q"],"properties":{"q":{"type":"string"}}}}}]}`)
	const call = "choices.0.delta.tool_calls.0"
	assert.Equal(t, "f", gjson.Get(chunks[0], call+".function.name").Str)
	assert.Equal(t, "call_1", gjson.Get(chunks[0], call+".id").Str)
	assert.Equal(t, gjson.Null, gjson.Get(chunks[0], "choices.0.delta.content").Type)
	for _, chunk := range chunks[:len(chunks)-2] {
		assert.Equal(t, "0", gjson.Get(chunk, call+".index").Raw)
	}
	assert.JSONEq(t, `{"q":"in the north"}`, joined(chunks, call+".function.arguments"))
	assert.Greater(t, len(chunks), 5, "arguments come in pieces")
	assert.Equal(t, "tool_calls", gjson.Get(chunks[len(chunks)-2], "choices.0.finish_reason").Str)
}

func TestJSONIsAnsweredWhereAsked(t *testing.T) {
	answer := ask(t, chatPath, `{"model":"m","messages":[{"role":"user","content":"say \"x\"\n"}],"response_format":{"type":"json_object"}}`)
	var out map[string]string
	require.NoError(t, json.Unmarshal([]byte(answer.Get("choices.0.message.content").Str), &out))
	assert.Contains(t, out["answer"], `say "x"`)
}

func TestContentParts(t *testing.T) {
	answer := ask(t, chatPath, `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"What is"},{"type":"image_url","image_url":{"url":"data:"}},{"type":"text","text":"this?"}]}]}`)
	assert.Contains(t, answer.Get("choices.0.message.content").Str, "“What is [image_url] this?”")
}

func TestALongTextIsQuotedShort(t *testing.T) {
	answer := ask(t, chatPath, `{"model":"m","messages":[{"role":"user","content":"`+strings.Repeat("é ", 100_000)+`"}]}`)
	content := answer.Get("choices.0.message.content").Str
	assert.Less(t, len(content), 600)
	assert.Contains(t, content, "é…”")
	assert.EqualValues(t, 100_000, answer.Get("usage.prompt_tokens").Int())
}

func TestChatThroughAnotherClient(t *testing.T) {
	config := legacy.DefaultConfig("pk_none")
	config.BaseURL = serve(t, model()) + "/v1"
	client := legacy.NewClientWithConfig(config)
	request := legacy.ChatCompletionRequest{Model: "demo", Messages: []legacy.ChatCompletionMessage{{Role: "user", Content: "hello"}}}
	plain, err := client.CreateChatCompletion(within(t), request)
	require.NoError(t, err)
	assert.Contains(t, plain.Choices[0].Message.Content, "hello")

	events, err := client.CreateChatCompletionStream(within(t), request)
	require.NoError(t, err)
	defer func() { require.NoError(t, events.Close()) }()
	var text strings.Builder
	for {
		chunk, err := events.Recv()
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
		text.WriteString(chunk.Choices[0].Delta.Content)
	}
	assert.Equal(t, plain.Choices[0].Message.Content, text.String())
}
