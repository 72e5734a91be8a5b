package demo

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"
)

// responses answers POST /v1/responses. Nothing is stored: a request that builds on
// an earlier one is refused, because leaving the earlier one out would change the
// answer.
func (m *Model) responses(w http.ResponseWriter, r *http.Request, body gjson.Result) error {
	model, err := modelField(body)
	if err != nil {
		return err
	}
	stream, err := boolField(body, "stream")
	if err != nil {
		return err
	}
	for _, name := range []string{"previous_response_id", "conversation"} {
		if !missing(body.Get(name)) {
			return invalid(name, "The demo model stores nothing: '%s' cannot be used.", name)
		}
	}
	p, err := readResponses(body)
	if err != nil {
		return err
	}
	answer := m.respond(body, model, p)
	if stream {
		return m.play(w, r, answer.frames())
	}
	writeJSON(w, http.StatusOK, encode(answer.finished()))
	return nil
}

// readResponses understands the body of a responses request.
func readResponses(body gjson.Result) (prompt, error) {
	var p prompt
	var err error
	if p.limit, err = limitField(body, "max_output_tokens"); err != nil {
		return p, err
	}
	if p.tool, err = responsesTools.choose(body); err != nil {
		return p, err
	}
	if p.format, err = readFormat(body.Get("text.format"), "text.format", ""); err != nil {
		return p, err
	}
	if instructions := body.Get("instructions"); instructions.Type == gjson.String {
		p.hear(fromElse, instructions.Str)
	}
	input := body.Get("input")
	switch {
	case missing(input):
		return p, invalid("input", "The field 'input' is missing.")
	case input.Type == gjson.String:
		p.hear(fromUser, input.Str)
		return p, nil
	case input.IsArray():
		return p, p.hearItems(input)
	}
	return p, invalid("input", "The field 'input' must be a string or a list.")
}

func (p *prompt) hearItems(items gjson.Result) error {
	var err error
	index := 0
	items.ForEach(func(_, item gjson.Result) bool {
		err = p.hearItem(item, fmt.Sprintf("input[%d]", index))
		index++
		return err == nil
	})
	if err == nil && index == 0 {
		err = invalid("input", "The field 'input' must not be empty.")
	}
	return err
}

// hearItem takes in a message or what a tool answered; items of other types (calls,
// reasoning) say nothing.
func (p *prompt) hearItem(item gjson.Result, param string) error {
	if !item.IsObject() {
		return invalid(param, "Each item of 'input' must be an object.")
	}
	from, field := fromTool, "output"
	switch item.Get("type").Str {
	case "", "message":
		var known bool
		if from, known = chatRoles[item.Get("role").Str]; !known || from == fromTool {
			return invalid(param+".role", "The role of a message must be system, developer, user or assistant.")
		}
		field = "content"
	case "function_call_output":
	default:
		p.hear(fromElse, "")
		return nil
	}
	text, err := contentText(item.Get(field), param+"."+field)
	if err != nil {
		return err
	}
	p.hear(from, text)
	return nil
}

// response is an answer in the form of responses: one output item, a message or a
// function call.
type response struct {
	echo   object // what the form repeats of the request, and the constants
	reply  reply
	itemID string
	callID string
	usage  usage
}

func (m *Model) respond(body gjson.Result, model string, p prompt) response {
	answer := response{reply: p.reply(""), echo: echo(body)}
	answer.echo["id"], answer.echo["created_at"], answer.echo["model"] = m.id("resp_"), m.now(), model
	answer.usage = usage{prompt: p.words, completion: len(answer.reply.pieces)}
	if answer.reply.tool != "" {
		answer.itemID, answer.callID = m.id("fc_"), m.id("call_")
	} else {
		answer.itemID = m.id("msg_")
	}
	return answer
}

// echo is the part of a response that repeats the request, with OpenAI's defaults.
func echo(body gjson.Result) object {
	out := object{
		"object": "response", "error": nil, "background": false, "store": false, "previous_response_id": nil,
		"service_tier": "default", "truncation": "disabled", "user": nil,
	}
	for name, otherwise := range map[string]string{
		"instructions": `null`, "max_output_tokens": `null`, "metadata": `{}`, "parallel_tool_calls": `true`,
		"reasoning": `{"effort":null,"summary":null}`, "temperature": `1`, "text": `{"format":{"type":"text"}}`,
		"tool_choice": `"auto"`, "tools": `[]`, "top_p": `1`,
	} {
		out[name] = json.RawMessage(otherwise)
		if value := body.Get(name); !missing(value) {
			out[name] = json.RawMessage(value.Raw)
		}
	}
	return out
}

// with is the response object at some moment.
func (a response) with(status string, output []object, more object) object {
	out := object{"status": status, "output": output, "incomplete_details": nil, "usage": nil}
	for _, part := range []object{a.echo, more} {
		maps.Copy(out, part)
	}
	return out
}

// status is how the response ends.
func (a response) status() string {
	if a.reply.finish == finishLength {
		return "incomplete"
	}
	return "completed"
}

// finished is the whole response.
func (a response) finished() object {
	more := object{"usage": a.usage.responses()}
	if a.reply.finish == finishLength {
		more["incomplete_details"] = object{"reason": "max_output_tokens"}
	}
	return a.with(a.status(), []object{a.item(a.status(), a.text())}, more)
}

func (a response) text() string { return strings.Join(a.reply.pieces, "") }

// item is the output item with the text it has so far; none means that its content
// has not begun.
func (a response) item(status, text string) object {
	if a.reply.tool != "" {
		return object{
			"id": a.itemID, "type": "function_call", "status": status,
			"call_id": a.callID, "name": a.reply.tool, "arguments": text,
		}
	}
	content := []object{}
	if text != "" {
		content = append(content, part(text))
	}
	return object{"id": a.itemID, "type": "message", "role": "assistant", "status": status, "content": content}
}

func part(text string) object {
	return object{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}
}
