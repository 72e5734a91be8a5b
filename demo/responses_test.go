package demo_test

import (
	"strings"
	"testing"

	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

const responsesPath = "/v1/responses"

func input(text string) responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model: "demo", Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt(text)},
	}
}

func lookUp() []responses.ToolUnionParam {
	return []responses.ToolUnionParam{responses.ToolParamOfFunction("look_up", map[string]any{
		"type": "object", "required": []string{"query"}, "additionalProperties": false,
		"properties": map[string]any{"query": map[string]any{"type": "string"}},
	}, true)}
}

func TestResponsesThroughTheSDK(t *testing.T) {
	client := sdk(t)
	params := input("What is new?")
	params.Instructions = param.NewOpt("Be brief.")
	answer, err := client.Responses.New(within(t), params)
	require.NoError(t, err)
	assert.Contains(t, answer.OutputText(), "“What is new?”")
	assert.Equal(t, responses.ResponseStatusCompleted, answer.Status)
	assert.Equal(t, "Be brief.", answer.Instructions.OfString)
	assert.EqualValues(t, 5, answer.Usage.InputTokens)
	assert.EqualValues(t, len(strings.Fields(answer.OutputText())), answer.Usage.OutputTokens)
	assert.Equal(t, "resp_1", answer.ID)
}

func TestResponsesCallsAToolAndUsesItsResult(t *testing.T) {
	client := sdk(t)
	params := input("blue shoes")
	params.Tools = lookUp()
	first, err := client.Responses.New(within(t), params)
	require.NoError(t, err)
	require.Len(t, first.Output, 1)
	call := first.Output[0].AsFunctionCall()
	assert.Equal(t, "look_up", call.Name)
	assert.JSONEq(t, `{"query":"blue shoes"}`, call.Arguments)
	require.Len(t, first.Tools, 1)

	output := responses.ResponseInputItemParamOfFunctionCallOutput("seven pairs")
	output.OfFunctionCallOutput.CallID = param.NewOpt(call.CallID)
	params.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{
		responses.ResponseInputItemParamOfMessage("blue shoes", responses.EasyInputMessageRoleUser),
		responses.ResponseInputItemParamOfFunctionCall(call.Arguments, call.CallID, call.Name),
		output,
	}}
	second, err := client.Responses.New(within(t), params)
	require.NoError(t, err)
	assert.Contains(t, second.OutputText(), "seven pairs")
}

// play is the SDK's view of a stream: the names of the events, with equal
// neighbours once, the deltas joined, and the last event.
func play(t *testing.T, params responses.ResponseNewParams) ([]string, string, responses.ResponseStreamEventUnion) {
	t.Helper()
	client := sdk(t)
	events := client.Responses.NewStreaming(within(t), params)
	var names []string
	var text strings.Builder
	var last responses.ResponseStreamEventUnion
	number := int64(0)
	for events.Next() {
		last = events.Current()
		assert.Equal(t, number, last.SequenceNumber)
		number++
		if len(names) == 0 || names[len(names)-1] != last.Type {
			names = append(names, last.Type)
		}
		text.WriteString(last.Delta)
	}
	require.NoError(t, events.Err())
	return names, text.String(), last
}

func TestAResponseStreamIsTheProperSequence(t *testing.T) {
	client := sdk(t)
	plain, err := client.Responses.New(within(t), input("hello there"))
	require.NoError(t, err)
	names, text, last := play(t, input("hello there"))
	assert.Equal(t, []string{
		"response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
		"response.output_text.delta", "response.output_text.done", "response.content_part.done",
		"response.output_item.done", "response.completed",
	}, names)
	assert.Equal(t, plain.OutputText(), text)
	assert.Equal(t, plain.OutputText(), last.Response.OutputText())
	assert.Equal(t, plain.Usage.TotalTokens, last.Response.Usage.TotalTokens)
}

func TestAResponseStreamWithATool(t *testing.T) {
	params := input("red hats")
	params.Tools = lookUp()
	names, arguments, last := play(t, params)
	assert.Equal(t, []string{
		"response.created", "response.in_progress", "response.output_item.added",
		"response.function_call_arguments.delta", "response.function_call_arguments.done",
		"response.output_item.done", "response.completed",
	}, names)
	assert.JSONEq(t, `{"query":"red hats"}`, arguments)
	require.Len(t, last.Response.Output, 1)
	assert.Equal(t, arguments, last.Response.Output[0].AsFunctionCall().Arguments)
}

func TestALimitedResponseIsIncomplete(t *testing.T) {
	params := input("hello there")
	params.MaxOutputTokens = param.NewOpt[int64](2)
	names, text, last := play(t, params)
	assert.Equal(t, "You said:", text)
	assert.Equal(t, "response.incomplete", names[len(names)-1])
	assert.Equal(t, responses.ResponseStatusIncomplete, last.Response.Status)
	assert.Equal(t, "max_output_tokens", last.Response.IncompleteDetails.Reason)
	assert.EqualValues(t, 2, last.Response.Usage.OutputTokens)
}

func TestAResponseInJSON(t *testing.T) {
	answer := ask(t, responsesPath, `{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"blue"}]}],
		"text":{"format":{"type":"json_schema","name":"c","schema":{"type":"object","required":["color"],"properties":{"color":{"type":"string"}}}}}}`)
	assert.JSONEq(t, `{"color":"blue"}`, answer.Get("output.0.content.0.text").Str)
	assert.Equal(t, "json_schema", answer.Get("text.format.type").Str, "the request is repeated")
}

func TestEventNamesStandInTheFrames(t *testing.T) {
	status, text := post(t, responsesPath, `{"model":"m","input":"hi","stream":true}`)
	require.Equal(t, 200, status)
	for event := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		name, data, found := strings.Cut(event, "\ndata: ")
		require.True(t, found, event)
		assert.Equal(t, name, "event: "+gjson.Get(data, "type").Str)
	}
	assert.NotContains(t, text, "[DONE]")
}
