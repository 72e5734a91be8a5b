package bedrock_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/document"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
)

func TestSDKConverse(t *testing.T) {
	for _, options := range [][]fake.Option{nil, {fake.WithTLS(nil)}, {fake.WithTLS(nil), fake.WithoutHTTP2()}} {
		server := fake.Start(t, options...)
		c := client(t, server)
		for _, model := range chatModels {
			out, err := c.Converse(t.Context(), ask(model, "hello <b> & you"))
			require.NoError(t, err, model)
			assert.Equal(t, "You said: hello <b> & you", answerText(t, out))
			assert.Equal(t, types.StopReasonEndTurn, out.StopReason)
			assert.EqualValues(t, 4, *out.Usage.InputTokens)
			assert.EqualValues(t, 6, *out.Usage.OutputTokens)
			assert.EqualValues(t, 10, *out.Usage.TotalTokens)
			assert.Equal(t, model == claude || model == nova || len(model) > 60, out.Usage.CacheReadInputTokens != nil, model)
			assert.EqualValues(t, 7, *out.Metrics.LatencyMs)

			last := server.Last()
			assert.Equal(t, model, last.Model)
			assert.Equal(t, "converse", last.Operation)
			assert.Equal(t, fake.Test.ID, last.Signature.KeyID)
			assert.Contains(t, last.Signature.Headers, "host")
			assert.Equal(t, "/model/"+url.QueryEscape(model)+"/converse", last.Target)
		}
		server.NoRefusals(t)
	}
}

func TestSDKConverseStream(t *testing.T) {
	server := fake.Start(t)
	for _, model := range chatModels {
		all := stream(t, client(t, server), ask(model, "a b c"))
		require.NoError(t, all.err, model)
		assert.Equal(t, "You said: a b c", all.text)
		assert.Equal(t, types.StopReasonEndTurn, all.stop)
		assert.EqualValues(t, 8, *all.usage.TotalTokens)
		assert.Equal(t, 1+5+1+2, all.events, "start, five words, stop of the block, stop, metadata")
		assert.Equal(t, "converse-stream", server.Last().Operation)
	}
	server.NoRefusals(t)
}

func TestSDKTools(t *testing.T) {
	server := fake.Start(t)
	c := client(t, server)
	for _, model := range []string{claude, llama, nova} {
		in := ask(model, "please call a tool")
		in.ToolConfig = tools("search", "buy")
		out, err := c.Converse(t.Context(), in)
		require.NoError(t, err)
		assert.Equal(t, types.StopReasonToolUse, out.StopReason)
		message := out.Output.(*types.ConverseOutputMemberMessage).Value
		use := message.Content[0].(*types.ContentBlockMemberToolUse).Value
		assert.Equal(t, "search", *use.Name)
		var input map[string]any
		require.NoError(t, use.Input.UnmarshalSmithyDocument(&input))
		assert.Equal(t, map[string]any{"tools": []any{"search", "buy"}}, input)

		all := stream(t, c, in)
		if model == llama {
			require.ErrorContains(t, all.err, "doesn't support tool use in streaming mode")
		} else {
			require.NoError(t, all.err)
			assert.Equal(t, "search", all.tool)
			assert.JSONEq(t, `{"tools":["search","buy"]}`, all.input)
			assert.Equal(t, types.StopReasonToolUse, all.stop)
		}

		in.Messages = append(in.Messages, message, user(&types.ContentBlockMemberToolResult{Value: types.ToolResultBlock{
			ToolUseId: use.ToolUseId, Content: []types.ToolResultContentBlock{
				&types.ToolResultContentBlockMemberText{Value: "found"},
				&types.ToolResultContentBlockMemberJson{Value: document.NewLazyDocument(map[string]any{"n": 1})},
			},
		}}))
		out, err = c.Converse(t.Context(), in)
		require.NoError(t, err)
		assert.Equal(t, types.StopReasonEndTurn, out.StopReason, "a tool's result ends the loop")
		assert.Equal(t, "You said: please call a tool", answerText(t, out))
		assert.EqualValues(t, 4+1+1, *out.Usage.InputTokens, "four words, the text and the JSON of the result")
	}
}

func TestSDKToolChoice(t *testing.T) {
	c := client(t, fake.Start(t))
	in := ask(claude, "hello")
	in.ToolConfig = tools("search", "buy")
	out, err := c.Converse(t.Context(), in)
	require.NoError(t, err)
	assert.Equal(t, types.StopReasonEndTurn, out.StopReason, "nobody asked")
	for want, choice := range map[string]types.ToolChoice{
		"search": &types.ToolChoiceMemberAny{},
		"buy":    &types.ToolChoiceMemberTool{Value: types.SpecificToolChoice{Name: aws.String("buy")}},
	} {
		in.ToolConfig.ToolChoice = choice
		assert.Equal(t, want, stream(t, c, in).tool)
	}
}

func TestSDKSystemAndImage(t *testing.T) {
	server := fake.Start(t)
	in := ask(nova, "what is this")
	in.System = []types.SystemContentBlock{&types.SystemContentBlockMemberText{Value: "be brief please"}}
	picture := png(t)
	in.Messages[0].Content = append(in.Messages[0].Content, &types.ContentBlockMemberImage{Value: types.ImageBlock{
		Format: types.ImageFormatPng, Source: &types.ImageSourceMemberBytes{Value: picture},
	}})
	in.InferenceConfig = &types.InferenceConfiguration{Temperature: aws.Float32(0.5), TopP: aws.Float32(1), MaxTokens: aws.Int32(100), StopSequences: []string{"###"}}
	out, err := client(t, server).Converse(t.Context(), in)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("You said: what is this (saw png of %d bytes)", len(picture)), answerText(t, out))
	assert.EqualValues(t, 6, *out.Usage.InputTokens, "the system's words count")
	server.NoRefusals(t)
}

func TestSDKStops(t *testing.T) {
	c := client(t, fake.Start(t))
	in := ask(claude, "one two three four")
	in.InferenceConfig = &types.InferenceConfiguration{StopSequences: []string{" three", " two"}}
	out, err := c.Converse(t.Context(), in)
	require.NoError(t, err)
	assert.Equal(t, "You said: one", answerText(t, out))
	assert.Equal(t, types.StopReasonStopSequence, out.StopReason)

	in.InferenceConfig = &types.InferenceConfiguration{MaxTokens: aws.Int32(4)}
	all := stream(t, c, in)
	assert.Equal(t, "You said: one two", all.text)
	assert.Equal(t, types.StopReasonMaxTokens, all.stop)
	assert.EqualValues(t, 4, *all.usage.OutputTokens)
}

func TestSDKEmbeddings(t *testing.T) {
	server := fake.Start(t)
	c := client(t, server)
	embed := func(body string) gjson.Result {
		out, err := c.InvokeModel(t.Context(), &sdk.InvokeModelInput{
			ModelId: aws.String("amazon.titan-embed-text-v2:0"), ContentType: aws.String("application/json"), Body: []byte(body),
		})
		require.NoError(t, err)
		return gjson.ParseBytes(out.Body)
	}
	one := embed(`{"inputText":"two words","dimensions":256,"normalize":true,"embeddingTypes":["float"]}`)
	assert.Len(t, one.Get("embedding").Array(), 256)
	assert.Equal(t, one.Get("embedding").Raw, one.Get("embeddingsByType.float").Raw)
	assert.EqualValues(t, 2, one.Get("inputTextTokenCount").Int())
	assert.Equal(t, one.Raw, embed(`{"inputText":"two words","dimensions":256}`).Raw, "the text alone decides")
	assert.Len(t, embed(`{"inputText":"two words"}`).Get("embedding").Array(), 1024)
	server.NoRefusals(t)

	for _, body := range []string{`{"inputText":""}`, `{}`, `{"inputText":"x","dimensions":3}`, `{"inputText":"x","input":"y"}`, `{"inputText":["x"]}`} {
		_, err := c.InvokeModel(t.Context(), &sdk.InvokeModelInput{ModelId: aws.String("amazon.titan-embed-text-v2:0"), Body: []byte(body)})
		var invalid *types.ValidationException
		require.ErrorAs(t, err, &invalid, body)
		assert.Contains(t, *invalid.Message, "Malformed input request", body)
	}
}
