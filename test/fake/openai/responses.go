package openai

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// responses answers POST /v1/responses, whole or as its sequence of typed events.
func responses(r Request, b Behavior) answer {
	prompt, last := strings.TrimSpace(r.JSON("instructions").String()+" "+promptOf(r.JSON("input"))), lastSaid(r.JSON("input"))
	said, why := cut(r, words(b, textOf(last))+seen(b, last), "max_output_tokens")
	status := map[string]string{"stop": "completed", "length": "incomplete"}[why]
	tools := toolNames(r.JSON("tools"), "name")
	item := object{
		"type": "message", "id": fmt.Sprintf("msg_fake_%d", r.Number), "status": status, "role": "assistant",
		"content": []any{textPart(said)},
	}
	if asked := askedTools(r, tools, r.JSON("tool_choice.name").String(), textOf(last), 1); len(asked) > 0 && !answersTool(r) {
		said, status = arguments(b, tools), "completed"
		item = object{
			"type": "function_call", "id": fmt.Sprintf("fc_fake_%d", r.Number), "status": "completed",
			"call_id": callID(r, 0), "name": asked[0], "arguments": said,
		}
	}
	done := responseObject(r, status, []any{item})
	if status == "incomplete" {
		done["incomplete_details"] = object{"reason": "max_output_tokens"}
	}
	done["usage"] = object{
		"input_tokens": stage.Tokens(prompt), "output_tokens": stage.Tokens(said), "total_tokens": stage.Tokens(prompt) + stage.Tokens(said),
		"input_tokens_details": object{"cached_tokens": 0}, "output_tokens_details": object{"reasoning_tokens": 0},
	}
	if !r.JSON("stream").Bool() {
		return ok(done)
	}
	return responseStream(r, b, item, said, done)
}

func responseObject(r Request, status string, output []any) object {
	return object{
		"id": fmt.Sprintf("resp_fake_%d", r.Number), "object": "response", "created_at": r.Time.Unix(), "status": status,
		"model": r.JSON("model").String(), "output": output, "error": nil, "incomplete_details": nil,
		"instructions": nil, "metadata": object{}, "parallel_tool_calls": true, "tool_choice": "auto", "tools": []any{},
		"temperature": 1, "top_p": 1, "usage": nil,
	}
}

func textPart(text string) object {
	return object{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}
}

// responseStream numbers its events from 0 and names each, as this API does; there
// is no [DONE].
func responseStream(r Request, b Behavior, item object, said string, done object) answer {
	var events [][]byte
	emit := func(kind string, fields object) {
		fields["type"], fields["sequence_number"] = kind, len(events)
		events = append(events, fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, stage.Encode(fields)))
	}
	inProgress := responseObject(r, "in_progress", []any{})
	emit("response.created", object{"response": inProgress})
	emit("response.in_progress", object{"response": inProgress})
	begun := object{"type": item["type"], "id": item["id"], "status": "in_progress"}
	if item["type"] == "message" {
		begun["role"], begun["content"] = "assistant", []any{}
		emit("response.output_item.added", object{"output_index": 0, "item": begun})
		emitText(b, item["id"], said, emit)
	} else {
		begun["call_id"], begun["name"], begun["arguments"] = item["call_id"], item["name"], ""
		emit("response.output_item.added", object{"output_index": 0, "item": begun})
		emit("response.function_call_arguments.delta", object{"item_id": item["id"], "output_index": 0, "delta": said})
		emit("response.function_call_arguments.done", object{"item_id": item["id"], "output_index": 0, "name": item["name"], "arguments": said})
	}
	emit("response.output_item.done", object{"output_index": 0, "item": item})
	emit("response."+done["status"].(string), object{"response": done})
	return stream(events...)
}

func emitText(b Behavior, id any, said string, emit func(string, object)) {
	place := func(more object) object {
		more["item_id"], more["output_index"], more["content_index"] = id, 0, 0
		return more
	}
	emit("response.content_part.added", place(object{"part": textPart("")}))
	for _, piece := range pieces(b, said) {
		emit("response.output_text.delta", place(object{"delta": piece, "logprobs": []any{}}))
	}
	emit("response.output_text.done", place(object{"text": said, "logprobs": []any{}}))
	emit("response.content_part.done", place(object{"part": textPart(said)}))
}

// promptOf reads an input that is a string or a list of messages.
func promptOf(input gjson.Result) string {
	if !input.IsArray() {
		return input.String()
	}
	var texts []string
	for _, item := range input.Array() {
		texts = append(texts, textOf(item.Get("content")), textOf(item.Get("output")))
	}
	return strings.TrimSpace(strings.Join(texts, " "))
}

// lastSaid is the content of the user's last message of an input, or the whole input.
func lastSaid(input gjson.Result) gjson.Result {
	if !input.IsArray() {
		return input
	}
	return lastUser(input)
}

// answersTool says that the input ends with a tool's result.
func answersTool(r Request) bool {
	items := r.JSON("input").Array()
	return len(items) > 0 && items[len(items)-1].Get("type").String() == "function_call_output"
}
