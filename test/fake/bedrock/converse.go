package bedrock

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// reply is what a model says, before it is put into a body or into frames.
type reply struct {
	reasoning string
	text      string
	speaks    bool // there is a block of text
	calls     []call
	stop      string
	usage     object
}

type call struct{ id, name, input string }

// latency is what every answer claims to have taken, in milliseconds.
const latency = 7

// compose finds what the model says: calls of tools if they were asked for, otherwise
// an echo of the last user message, cut by stop sequences and maxTokens.
func compose(r *Request, b Behavior, m model) reply {
	var said reply
	spoken := ""
	tools := toolsOf(r)
	asked := askedTools(r, tools, b.Calls)
	switch {
	case b.Empty:
		said.stop = "end_turn"
	case len(asked) > 0:
		said.stop = "tool_use"
		for i, name := range asked {
			input := b.ToolInput
			if input == "" {
				input = string(stage.Encode(object{"tools": tools}))
			}
			said.calls = append(said.calls, call{id: callID(r, i), name: name, input: input})
			spoken += input + " "
		}
	default:
		said.stop = "end_turn"
		said.text = words(b, lastUserText(r.JSON("messages")))
		if b.Content == "" {
			said.text += seen(lastUser(r.JSON("messages")))
		}
		said.cut(r)
		said.speaks, spoken = said.text != "", said.text
	}
	if b.Reasoning != "" && !b.Empty {
		said.reasoning = b.Reasoning
		spoken += " " + b.Reasoning
	}
	if b.StopReason != "" {
		said.stop = b.StopReason
	}
	said.usage = count(stage.Tokens(promptText(r)), spoken, b, m)
	return said
}

func callID(r *Request, i int) string { return fmt.Sprintf("tooluse_fake_%d_%d", r.Number, i) }

func toolsOf(r *Request) []string {
	var names []string
	for _, tool := range r.JSON("toolConfig.tools").Array() {
		if name := tool.Get("toolSpec.name").String(); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// cut ends the text where the request wants it to end.
func (said *reply) cut(r *Request) {
	end := len(said.text)
	for _, stop := range r.JSON("inferenceConfig.stopSequences").Array() {
		if i := strings.Index(said.text, stop.String()); i >= 0 && i < end {
			end, said.stop = i, "stop_sequence"
		}
	}
	said.text = said.text[:end]
	if limit := r.JSON("inferenceConfig.maxTokens"); limit.Exists() && len(strings.Fields(said.text)) > int(limit.Int()) {
		said.text, said.stop = stage.FirstWords(said.text, int(limit.Int())), "max_tokens"
	}
}

// count is the usage. What is read from a cache or written to it is not part of the
// input, but of the total.
func count(in int, spoken string, b Behavior, m model) object {
	out := stage.Tokens(spoken)
	if b.Empty {
		out = 0
	}
	used := object{"inputTokens": in, "outputTokens": out, "totalTokens": in + out + b.CacheRead + b.CacheWrite}
	if m.cache || b.CacheRead+b.CacheWrite > 0 {
		used["cacheReadInputTokens"], used["cacheWriteInputTokens"] = b.CacheRead, b.CacheWrite
	}
	return used
}

// signed is the signature of a block of reasoning.
const signed = "ZmFrZSBzaWduYXR1cmU="

// whole is the answer of Converse.
func (said *reply) whole() answer {
	content := []any{}
	if said.reasoning != "" {
		content = append(content, object{"reasoningContent": object{"reasoningText": object{"text": said.reasoning, "signature": signed}}})
	}
	if said.speaks {
		content = append(content, object{"text": said.text})
	}
	for _, call := range said.calls {
		var input any = call.input
		if gjson.Valid(call.input) {
			input = gjson.Parse(call.input).Value()
		}
		content = append(content, object{"toolUse": object{"toolUseId": call.id, "name": call.name, "input": input}})
	}
	return whole(http.StatusOK, stage.Encode(object{
		"output":     object{"message": object{"role": "assistant", "content": content}},
		"stopReason": said.stop, "usage": said.usage, "metrics": object{"latencyMs": latency},
	}))
}
