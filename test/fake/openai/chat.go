package openai

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// chat answers POST /v1/chat/completions: with a call of a tool if one was asked
// for, otherwise with an echo of the last user message.
func chat(r Request, b Behavior) answer {
	prompt, last := textOfMessages(r.JSON("messages")), lastUser(r.JSON("messages"))
	said, reason := cut(r, words(b, textOf(last))+seen(b, last), "max_completion_tokens", "max_tokens")
	tools := toolNames(r.JSON("tools"), "function.name")
	message := object{"role": "assistant", "content": said, "refusal": nil}
	if asked := askedTools(r, tools, r.JSON("tool_choice.function.name").String(), textOf(last), b.Calls); len(asked) > 0 {
		reason, message["content"] = "tool_calls", nil
		message["tool_calls"], said = toolCalls(r, asked, arguments(b, tools))
	}
	if b.Reasoning != "" {
		message["reasoning_content"] = b.Reasoning
		said += " " + b.Reasoning
	}
	if r.JSON("stream").Bool() {
		return chatStream(r, b, message, reason, usage(prompt, said))
	}
	return ok(object{
		"id": chatID(r), "object": "chat.completion", "created": r.Time.Unix(), "model": r.JSON("model").String(),
		"system_fingerprint": "fp_fake", "service_tier": "default", "usage": usage(prompt, said),
		"choices": []any{object{"index": 0, "message": message, "logprobs": nil, "finish_reason": reason}},
	})
}

func chatID(r Request) string { return fmt.Sprintf("chatcmpl-fake-%d", r.Number) }

// arguments are those of each call: the names of all tools, unless b says.
func arguments(b Behavior, tools []string) string {
	if b.ToolInput != "" {
		return b.ToolInput
	}
	return string(stage.Encode(object{"tools": tools}))
}

// toolCalls are the calls of the tools named, and what they say together, for counting.
func toolCalls(r Request, names []string, arguments string) (calls []any, said string) {
	for i, name := range names {
		calls = append(calls, object{
			"id": callID(r, i), "type": "function", "function": object{"name": name, "arguments": arguments},
		})
	}
	return calls, strings.Repeat(arguments+" ", len(names))
}

func callID(r Request, i int) string { return fmt.Sprintf("call_fake_%d_%d", r.Number, i) }

// chatStream sends the role, the words or the tool call in pieces, the reason, the
// usage if it was asked for, and the end.
func chatStream(r Request, b Behavior, message object, reason string, used object) answer {
	wantsUsage := r.JSON("stream_options.include_usage").Bool()
	chunk := func(choices []any) object {
		c := object{
			"id": chatID(r), "object": "chat.completion.chunk", "created": r.Time.Unix(), "model": r.JSON("model").String(),
			"system_fingerprint": "fp_fake", "service_tier": "default", "choices": choices,
		}
		if wantsUsage {
			c["usage"] = nil
		}
		return c
	}
	delta := func(d object, reason any) []byte {
		return event(chunk([]any{object{"index": 0, "delta": d, "logprobs": nil, "finish_reason": reason}}))
	}
	events := [][]byte{delta(object{"role": "assistant", "content": "", "refusal": nil}, nil)}
	if thought, ok := message["reasoning_content"].(string); ok {
		for _, piece := range pieces(b, thought) {
			events = append(events, delta(object{"reasoning_content": piece}, nil))
		}
	}
	if calls, ok := message["tool_calls"].([]any); ok {
		for i, call := range calls {
			events = append(events, callDeltas(b, i, call.(object), delta)...)
		}
	} else {
		for _, piece := range pieces(b, message["content"].(string)) {
			events = append(events, delta(object{"content": piece}, nil))
		}
	}
	events = append(events, delta(object{}, reason))
	if wantsUsage {
		last := chunk([]any{})
		last["usage"] = used
		events = append(events, event(last))
	}
	return stream(append(events, endOfStream)...)
}

func callDeltas(b Behavior, index int, call object, delta func(object, any) []byte) [][]byte {
	function := call["function"].(object)
	head := object{
		"index": index, "id": call["id"], "type": "function",
		"function": object{"name": function["name"], "arguments": ""},
	}
	events := [][]byte{delta(object{"tool_calls": []any{head}}, nil)}
	spaced := strings.ReplaceAll(function["arguments"].(string), ",", ", ") // so that there are pieces
	for _, piece := range pieces(b, spaced) {
		part := object{"index": index, "function": object{"arguments": piece}}
		events = append(events, delta(object{"tool_calls": []any{part}}, nil))
	}
	return events
}

// askedTools are the tools to call: the one tool_choice names, the first (or the first
// so many) if one is required, or if the user's words contain "call a tool"; none after a
// tool's result, so that loops end.
func askedTools(r Request, tools []string, chosen, user string, count int) []string {
	messages := r.JSON("messages").Array()
	switch {
	case len(messages) > 0 && messages[len(messages)-1].Get("role").String() == "tool", len(tools) == 0:
		return nil
	case r.JSON("tool_choice").String() == "none":
		return nil
	case chosen != "":
		return []string{chosen}
	case r.JSON("tool_choice").String() == "required", strings.Contains(user, "call a tool"):
		return tools[:min(max(count, 1), len(tools))]
	}
	return nil
}

func toolNames(tools gjson.Result, path string) []string {
	var names []string
	for _, tool := range tools.Array() {
		if name := tool.Get(path).String(); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// textOfMessages joins all texts, for counting.
func textOfMessages(messages gjson.Result) string {
	var texts []string
	for _, message := range messages.Array() {
		texts = append(texts, textOf(message.Get("content")))
	}
	return strings.Join(texts, " ")
}

// lastUser is the content of the user's last message.
func lastUser(messages gjson.Result) gjson.Result {
	var last gjson.Result
	for _, message := range messages.Array() {
		if message.Get("role").String() == "user" {
			last = message.Get("content")
		}
	}
	return last
}

// textOf reads content that is a string or a list of parts with a text.
func textOf(content gjson.Result) string {
	if !content.IsArray() {
		return content.String()
	}
	var texts []string
	for _, part := range content.Array() {
		if part.Type == gjson.String {
			texts = append(texts, part.String())
		} else if text := part.Get("text"); text.Exists() {
			texts = append(texts, text.String())
		}
	}
	return strings.Join(texts, " ")
}
