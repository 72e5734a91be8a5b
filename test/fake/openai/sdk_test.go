package openai_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

func chatParams(text string) sdk.ChatCompletionNewParams {
	return sdk.ChatCompletionNewParams{Model: "gpt-test", Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage(text)}}
}

func TestSDKChat(t *testing.T) {
	server := fake.Start(t)
	completion, err := sdkClient(t, server).Chat.Completions.New(t.Context(), chatParams("hello <b> & you"))
	require.NoError(t, err)
	assert.Equal(t, "You said: hello <b> & you", completion.Choices[0].Message.Content)
	assert.Equal(t, "stop", completion.Choices[0].FinishReason)
	assert.EqualValues(t, 4, completion.Usage.PromptTokens)
	assert.EqualValues(t, 6, completion.Usage.CompletionTokens)
	assert.EqualValues(t, 10, completion.Usage.TotalTokens)
	assert.Equal(t, "gpt-test", completion.Model)

	last := server.Last()
	assert.Equal(t, "Bearer sk-test", last.Header.Get("Authorization"))
	assert.Equal(t, "gpt-test", last.JSON("model").String())
}

func TestSDKChatStream(t *testing.T) {
	for _, withUsage := range []bool{false, true} {
		server := fake.Start(t)
		params := chatParams("a b c")
		if withUsage {
			params.StreamOptions = sdk.ChatCompletionStreamOptionsParam{IncludeUsage: param.NewOpt(true)}
		}
		stream := sdkClient(t, server).Chat.Completions.NewStreaming(t.Context(), params)
		whole := sdk.ChatCompletionAccumulator{}
		for stream.Next() {
			require.True(t, whole.AddChunk(stream.Current()))
		}
		require.NoError(t, stream.Err())
		require.NoError(t, stream.Close())
		assert.Equal(t, "You said: a b c", whole.Choices[0].Message.Content)
		assert.Equal(t, "stop", whole.Choices[0].FinishReason)
		if withUsage {
			assert.EqualValues(t, 8, whole.Usage.TotalTokens)
		} else {
			assert.Zero(t, whole.Usage.TotalTokens, "usage must be asked for")
		}
	}
}

func tool(name string) sdk.ChatCompletionToolUnionParam {
	return sdk.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: name, Parameters: shared.FunctionParameters{"type": "object"}})
}

func TestSDKTools(t *testing.T) {
	server := fake.Start(t)
	params := chatParams("please call a tool")
	params.Tools = []sdk.ChatCompletionToolUnionParam{tool("search"), tool("buy")}

	completion, err := sdkClient(t, server).Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	call := completion.Choices[0].Message.ToolCalls[0]
	assert.Equal(t, "tool_calls", completion.Choices[0].FinishReason)
	assert.Equal(t, "search", call.Function.Name)
	assert.JSONEq(t, `{"tools":["search","buy"]}`, call.Function.Arguments)

	stream := sdkClient(t, server).Chat.Completions.NewStreaming(t.Context(), params)
	whole := sdk.ChatCompletionAccumulator{}
	for stream.Next() {
		require.True(t, whole.AddChunk(stream.Current()))
	}
	require.NoError(t, stream.Err())
	require.NoError(t, stream.Close())
	assert.Equal(t, "search", whole.Choices[0].Message.ToolCalls[0].Function.Name)
	assert.JSONEq(t, `{"tools":["search","buy"]}`, whole.Choices[0].Message.ToolCalls[0].Function.Arguments)

	params.Messages = append(params.Messages, completion.Choices[0].Message.ToParam(), sdk.ToolMessage("found", call.ID))
	completion, err = sdkClient(t, server).Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	assert.Equal(t, "stop", completion.Choices[0].FinishReason, "a tool's result ends the loop")
	assert.Contains(t, completion.Choices[0].Message.Content, "please call a tool")

	params = chatParams("hello")
	params.Tools = []sdk.ChatCompletionToolUnionParam{tool("search"), tool("buy")}
	completion, err = sdkClient(t, server).Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	assert.Empty(t, completion.Choices[0].Message.ToolCalls, "nobody asked")
	params.ToolChoice = sdk.ToolChoiceOptionFunctionToolChoice(sdk.ChatCompletionNamedToolChoiceFunctionParam{Name: "buy"})
	completion, err = sdkClient(t, server).Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	assert.Equal(t, "buy", completion.Choices[0].Message.ToolCalls[0].Function.Name)
}

func TestSDKCompletions(t *testing.T) {
	c := sdkClient(t, fake.Start(t))
	params := sdk.CompletionNewParams{Model: "old", Prompt: sdk.CompletionNewParamsPromptUnion{OfString: param.NewOpt("once upon")}}
	completion, err := c.Completions.New(t.Context(), params)
	require.NoError(t, err)
	assert.Equal(t, "You said: once upon", completion.Choices[0].Text)
	assert.EqualValues(t, 6, completion.Usage.TotalTokens)

	stream := c.Completions.NewStreaming(t.Context(), params)
	text := ""
	for stream.Next() {
		text += stream.Current().Choices[0].Text
	}
	require.NoError(t, stream.Err())
	require.NoError(t, stream.Close())
	assert.Equal(t, "You said: once upon", text)
}

func TestSDKEmbeddings(t *testing.T) {
	server := fake.Start(t)
	c := sdkClient(t, server)
	embed := func(texts ...string) *sdk.CreateEmbeddingResponse {
		answer, err := c.Embeddings.New(t.Context(), sdk.EmbeddingNewParams{
			Model: "embed", Dimensions: param.NewOpt(int64(16)),
			Input: sdk.EmbeddingNewParamsInputUnion{OfArrayOfStrings: texts},
		})
		require.NoError(t, err)
		return answer
	}
	both := embed("one", "two again")
	require.Len(t, both.Data, 2)
	assert.Len(t, both.Data[0].Embedding, 16)
	assert.NotEqual(t, both.Data[0].Embedding, both.Data[1].Embedding)
	assert.Equal(t, both.Data[1].Embedding, embed("two again").Data[0].Embedding, "the text alone decides")
	assert.EqualValues(t, 3, both.Usage.PromptTokens)

	packed, err := c.Embeddings.New(t.Context(), sdk.EmbeddingNewParams{
		Model: "embed", EncodingFormat: sdk.EmbeddingNewParamsEncodingFormatBase64,
		Input: sdk.EmbeddingNewParamsInputUnion{OfString: param.NewOpt("one")},
	})
	require.NoError(t, err)
	assert.Contains(t, packed.RawJSON(), `"embedding":"`)
}

func TestSDKResponses(t *testing.T) {
	c := sdkClient(t, fake.Start(t))
	params := responses.ResponseNewParams{Model: "gpt-test", Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("good day")}}
	response, err := c.Responses.New(t.Context(), params)
	require.NoError(t, err)
	assert.Equal(t, "You said: good day", response.OutputText())
	assert.EqualValues(t, 6, response.Usage.TotalTokens)

	stream := c.Responses.NewStreaming(t.Context(), params)
	text, completed, number := "", "", int64(-1)
	for stream.Next() {
		event := stream.Current()
		require.Equal(t, number+1, event.SequenceNumber)
		number = event.SequenceNumber
		switch event.Type {
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

	params.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction("search", map[string]any{"type": "object"}, true)}
	params.ToolChoice = responses.ResponseNewParamsToolChoiceUnion{OfToolChoiceMode: param.NewOpt(responses.ToolChoiceOptionsRequired)}
	response, err = c.Responses.New(t.Context(), params)
	require.NoError(t, err)
	assert.Equal(t, "search", response.Output[0].AsFunctionCall().Name)
	assert.JSONEq(t, `{"tools":["search"]}`, response.Output[0].AsFunctionCall().Arguments)
}

func TestSDKFilesAndAudio(t *testing.T) {
	c := sdkClient(t, fake.Start(t))
	files, err := c.Files.List(t.Context(), sdk.FileListParams{Limit: param.NewOpt(int64(5))})
	require.NoError(t, err)
	assert.Empty(t, files.Data)
	assert.Contains(t, files.RawJSON(), `"query":"limit=5"`)

	heard, err := c.Audio.Transcriptions.New(t.Context(), sdk.AudioTranscriptionNewParams{
		Model: "whisper", File: sdk.File(strings.NewReader("not really audio"), "speech.mp3", "audio/mpeg"),
	})
	require.NoError(t, err)
	assert.Equal(t, "whisper heard 16 bytes of speech.mp3", heard.Text)
}

func TestSDKErrors(t *testing.T) {
	server := fake.Start(t, fake.WithKey("another key"))
	_, err := sdkClient(t, server).Chat.Completions.New(context.Background(), chatParams("x"))
	var refused *sdk.Error
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusUnauthorized, refused.StatusCode)
	assert.Equal(t, "invalid_api_key", refused.Code)
}
