package bedrock_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/extproc/provider/bedrock"
	"github.com/postern-proxy/postern/fault"
)

// TestWrongShapesAreRefusedWhereTheyAre holds the place that is named against fields
// of another shape than OpenAI's. Each text stands beside the model in a request.
func TestWrongShapesAreRefusedWhereTheyAre(t *testing.T) {
	const hi = `"messages":[{"role":"user","content":"a"}],`
	after := func(message string) string {
		return `"messages":[{"role":"user","content":"a"},` + message + `]`
	}
	format := func(schema string) string {
		return hi + `"response_format":{"type":"json_schema","json_schema":` + schema + `}`
	}
	for path, cases := range map[string]map[string]string{
		"/v1/chat/completions": {
			`"messages":"a"`:                                                               "messages",
			`"messages":[1]`:                                                               "messages[0]",
			`"messages":[{"content":"a"}]`:                                                 "messages[0].role",
			`"messages":[{"role":"user","content":1}]`:                                     "messages[0].content",
			`"messages":[{"role":"system","content":{}}]`:                                  "messages[0].content",
			`"messages":[{"role":"system","content":[1]}]`:                                 "messages[0].content[0]",
			`"messages":[{"role":"user","tool_calls":[]}]`:                                 "messages[0].tool_calls",
			`"messages":[{"role":"user","content":"a","refusal":"b"}]`:                     "messages[0].refusal",
			`"messages":[{"role":"user","content":"a","thinking_blocks":[]}]`:              "messages[0].thinking_blocks",
			`"messages":[{"role":"system","content":"a","thinking_blocks":[]}]`:            "messages[0].thinking_blocks",
			`"messages":[{"reasoning_content":"b","role":"user","content":"a"}]`:           "messages[0].reasoning_content",
			`"messages":[{"role":"system","content":"a","annotations":[]}]`:                "messages[0].annotations",
			`"messages":[{"role":"user","content":"a","tool_call_id":"b"}]`:                "messages[0].tool_call_id",
			after(`{"role":"assistant","content":"a","tool_call_id":"b"}`):                 "messages[1].tool_call_id",
			after(`{"role":"tool","tool_call_id":"b","content":"a","reasoning":"c"}`):      "messages[1].reasoning",
			after(`{"role":"tool","tool_call_id":"b","content":"a","refusal":"c"}`):        "messages[1].refusal",
			after(`{"role":"tool","tool_call_id":"b","content":"a","thinking_blocks":[]}`): "messages[1].thinking_blocks",
			after(`{"role":"assistant","tool_calls":[{"id":"b","type":"function","function":{"name":"f","arguments":"{}","strict":true}}]}`): "messages[1].tool_calls[0].function.strict",
			after(`{"role":"assistant","thinking_blocks":[{"type":"thinking","thinking":"a","signature":"b","x":1}]}`):                       "messages[1].thinking_blocks[0].x",
			`"messages":[{"role":"user","audio":{"id":"a"}}]`:                                                                                "messages[0].audio",
			`"messages":[{"role":"user","content":[{"type":"text","text":1}]}]`:                                                              "messages[0].content[0].text",
			`"messages":[{"role":"user","content":[{"type":"image_url","image_url":"u"}]}]`:                                                  "messages[0].content[0].image_url",
			`"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":1}}]}]`:                                            "messages[0].content[0].image_url",
			`"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u","size":1}}]}]`:                                 "messages[0].content[0].image_url.size",
			`"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"},"x":1}]}]`:                                    "messages[0].content[0].x",
			`"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KG=o="}}]}]`:         "messages[0].content[0].image_url",
			after(`{"role":"assistant","content":1}`):                                                                                        "messages[1].content",
			after(`{"role":"assistant","refusal":1}`):                                                                                        "messages[1].refusal",
			after(`{"role":"assistant","content":[{"type":"refusal","refusal":1}]}`):                                                         "messages[1].content[0].refusal",
			after(`{"role":"assistant","tool_calls":{}}`):                                                                                    "messages[1].tool_calls",
			after(`{"role":"assistant","tool_calls":[1]}`):                                                                                   "messages[1].tool_calls[0]",
			after(`{"role":"assistant","tool_calls":[{"type":"custom"}]}`):                                                                   "messages[1].tool_calls[0].type",
			after(`{"role":"assistant","tool_calls":[{"function":1}]}`):                                                                      "messages[1].tool_calls[0].function",
			after(`{"role":"assistant","tool_calls":[{"function":{},"x":1}]}`):                                                               "messages[1].tool_calls[0].x",
			after(`{"role":"assistant","tool_calls":[{"function":{}}]}`):                                                                     "messages[1].tool_calls[0].id",
			after(`{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"a b"}}]}`):                                                "messages[1].tool_calls[0].function.name",
			after(`{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"a","arguments":{}}}]}`):                                   "messages[1].tool_calls[0].function.arguments",
			after(`{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"a","arguments":"{\"SECRET\":1,\"SECRET\":1}"}}]}`):        "messages[1].tool_calls[0].function.arguments",
			after(`{"role":"tool","tool_call_id":"a","content":1}`):                                                                          "messages[1].content",
			after(`{"role":"tool","tool_call_id":"a","content":[{"type":"text"}]}`):                                                          "messages[1].content[0].text",
			after(`{"role":"assistant","thinking_blocks":1}`):                                                                                "messages[1].thinking_blocks",
			after(`{"role":"assistant","thinking_blocks":[1]}`):                                                                              "messages[1].thinking_blocks[0]",
			after(`{"role":"assistant","thinking_blocks":[{"type":"other"}]}`):                                                               "messages[1].thinking_blocks[0].type",
			after(`{"role":"assistant","thinking_blocks":[{"type":"thinking"}]}`):                                                            "messages[1].thinking_blocks[0].thinking",
			after(`{"role":"assistant","thinking_blocks":[{"type":"thinking","thinking":""}]}`):                                              "messages[1].thinking_blocks[0].signature",
			after(`{"role":"assistant","thinking_blocks":[{"type":"redacted_thinking","data":"?"}]}`):                                        "messages[1].thinking_blocks[0].data",
			hi + `"stream":1`:                                                  "stream",
			hi + `"stream":true,"stream_options":1`:                            "stream_options",
			hi + `"stream":true,"stream_options":{"include_usage":1}`:          "stream_options.include_usage",
			hi + `"stream":true,"stream_options":{"x":1}`:                      "stream_options.x",
			hi + `"temperature":"1"`:                                           "temperature",
			hi + `"top_p":2`:                                                   "top_p",
			hi + `"top_p":0.5,"reasoning_effort":"low"`:                        "top_p",
			hi + `"max_tokens":1.0`:                                            "max_tokens",
			hi + `"stop":1`:                                                    "stop",
			hi + `"stop":""`:                                                   "stop",
			hi + `"tools":{}`:                                                  "tools",
			hi + `"tools":[1]`:                                                 "tools[0]",
			hi + `"tools":[{"type":"function","function":1}]`:                  "tools[0].function",
			hi + `"tools":[{"type":"function","function":{},"x":1}]`:           "tools[0].x",
			hi + `"tools":[{"type":"function","function":{"name":"a","x":1}}]`: "tools[0].function.x",
			hi + `"tools":[{"type":"function","function":{"name":"a","description":1}}]`: "tools[0].function.description",
			hi + `"tools":[{"type":"function","function":{"name":"a","strict":1}}]`:      "tools[0].function.strict",
			hi + `"tool_choice":1`:                                      "tool_choice",
			hi + `"tool_choice":"any"`:                                  "tool_choice",
			hi + `"parallel_tool_calls":1`:                              "parallel_tool_calls",
			hi + `"response_format":"json_object"`:                      "response_format",
			hi + `"response_format":{"type":"xml"}`:                     "response_format.type",
			format(`1`):                                                 "response_format.json_schema",
			format(`{"name":""}`):                                       "response_format.json_schema.name",
			format(`{"name":"a","strict":1}`):                           "response_format.json_schema.strict",
			format(`{"name":"a","description":1}`):                      "response_format.json_schema.description",
			format(`{"name":"a","schema":{}}`):                          "response_format.json_schema.schema",
			format(`{"name":"a","example":{}}`):                         "response_format.json_schema.example",
			hi + `"response_format":{"type":"json_object","schema":{}}`: "response_format.schema",
			hi + `"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"f","x":1}}`: "tool_choice.function.x",
			hi + `"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"f"},"x":1}`: "tool_choice.x",
			hi + `"reasoning_effort":1`:        "reasoning_effort",
			hi + `"reasoning_effort":"SECRET"`: "reasoning_effort",
			hi + `"top_k":1`:                   "top_k",
		},
		"/v1/completions": {
			`"stream":false`:            "prompt",
			`"prompt":[]`:               "prompt",
			`"prompt":{}`:               "prompt",
			`"prompt":"a","messages":1`: "messages",
			`"prompt":"a","stop":[1]`:   "stop[0]",
		},
		"/v1/responses": {
			`"input":1`:                     "input",
			`"input":""`:                    "input",
			`"input":[]`:                    "input",
			`"input":[1]`:                   "input[0]",
			`"input":"a","instructions":[]`: "instructions",
			`"input":[{"role":"tool","content":"a"}]`:                                                        "input[0].role",
			`"input":[{"role":"user","content":1}]`:                                                          "input[0].content",
			`"input":[{"role":"user","content":" "}]`:                                                        "input[0].content",
			`"input":[{"role":"user","content":"a","name":"b"}]`:                                             "input[0].name",
			`"input":[{"role":"user","content":[1]}]`:                                                        "input[0].content[0]",
			`"input":[{"role":"user","content":[{"type":"output_text","text":"a"}]}]`:                        "input[0].content[0].type",
			`"input":[{"role":"user","content":[{"type":"input_text","text":"a","annotations":[]}]}]`:        "input[0].content[0].annotations",
			`"input":[{"role":"user","content":[{"type":"input_text","text":1}]}]`:                           "input[0].content[0].text",
			`"input":[{"role":"user","content":[{"type":"input_image","file_id":"a"}]}]`:                     "input[0].content[0].file_id",
			`"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://a.example/b"}]}]`: "input[0].content[0].image_url",
			`"input":[{"role":"user","content":[{"type":"input_image"}]}]`:                                   "input[0].content[0].image_url",
			`"input":[{"type":"function_call","name":"a"}]`:                                                  "input[0].call_id",
			`"input":[{"type":"function_call","call_id":"a","name":"a","arguments":"1"}]`:                    "input[0].arguments",
			`"input":[{"type":"function_call","namespace":"a"}]`:                                             "input[0].namespace",
			`"input":[{"type":"function_call_output","output":"a"}]`:                                         "input[0].call_id",
			`"input":[{"type":"function_call_output","call_id":"a","output":1}]`:                             "input[0].output",
			`"input":[{"type":"function_call_output","call_id":"a","output":[{"type":"input_file"}]}]`:       "input[0].output[0].type",
			`"input":"a","text":1`:                                                                              "text",
			`"input":"a","text":{"verbosity":"high"}`:                                                           "text.verbosity",
			`"input":"a","text":{"x":1}`:                                                                        "text.x",
			`"input":"a","text":{"format":{"type":"json_schema","name":"a","x":1}}`:                             "text.format.x",
			`"input":"a","text":{"format":{"type":"json_schema"}}`:                                              "text.format.name",
			`"input":"a","reasoning":1`:                                                                         "reasoning",
			`"input":"a","reasoning":{"summary":"detailed"}`:                                                    "reasoning.summary",
			`"input":"a","reasoning":{"x":1}`:                                                                   "reasoning.x",
			`"input":"a","reasoning":{"effort":"most"}`:                                                         "reasoning.effort",
			`"input":"a","tools":[{"type":"function","name":"a","x":1}]`:                                        "tools[0].x",
			`"input":"a","tools":[{"type":"function","name":"a"}],"tool_choice":{"type":"function","name":"b"}`: "tool_choice.name",
			`"input":"a","max_output_tokens":0`:                                                                 "max_output_tokens",
		},
		"/v1/embeddings": {
			`"input":{}`:             "input",
			`"input":[]`:             "input",
			`"input":"a","stream":1`: "stream",
		},
	} {
		model := sonnet
		if path == "/v1/embeddings" {
			model = "amazon.titan-embed-text-v2:0"
		}
		for text, param := range cases {
			_, err := bedrock.Request(bedrock.Input{Path: path, Model: model, Body: []byte(`{"model":"m",` + text + `}`)})
			e, ok := errors.AsType[*fault.Error](err)
			require.True(t, ok, text)
			assert.Equal(t, fault.InvalidRequest, e.Kind, text)
			assert.Equal(t, param, e.Param, text)
			assert.NotContains(t, e.Message, "SECRET", text)
		}
	}
}
