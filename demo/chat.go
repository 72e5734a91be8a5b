package demo

import (
	"fmt"
	"net/http"

	"github.com/tidwall/gjson"
)

// chat answers POST /v1/chat/completions.
func (m *Model) chat(w http.ResponseWriter, r *http.Request, body gjson.Result) error {
	how, err := readWish(body)
	if err != nil {
		return err
	}
	p, err := readChat(body)
	if err != nil {
		return err
	}
	answer := chatAnswer{id: m.id("chatcmpl-"), created: m.now(), model: how.model, usage: usage{prompt: p.words}}
	for i := range how.choices {
		choice := chatChoice{reply: p.reply(suffix(i))}
		if choice.tool != "" {
			choice.callID = m.id("call_")
		}
		answer.usage.completion += len(choice.pieces)
		answer.choices = append(answer.choices, choice)
	}
	if how.on {
		return m.play(w, r, answer.frames(how.usage))
	}
	writeJSON(w, http.StatusOK, encode(answer.whole()))
	return nil
}

// suffix tells the choices of one answer apart.
func suffix(choice int) string {
	if choice == 0 {
		return ""
	}
	return fmt.Sprintf(" (This is choice %d.)", choice+1)
}

// readChat understands the body of a chat request.
func readChat(body gjson.Result) (prompt, error) {
	var p prompt
	var err error
	if p.limit, err = limitField(body, "max_completion_tokens", "max_tokens"); err != nil {
		return p, err
	}
	if p.tool, err = chatTools.choose(body); err != nil {
		return p, err
	}
	if p.format, err = readFormat(body.Get("response_format"), "response_format", "json_schema."); err != nil {
		return p, err
	}
	return p, p.hearMessages(body.Get("messages"))
}

func (p *prompt) hearMessages(messages gjson.Result) error {
	if missing(messages) {
		return invalid("messages", "The field 'messages' is missing.")
	}
	if !messages.IsArray() {
		return invalid("messages", "The field 'messages' must be a list.")
	}
	var err error
	index := 0
	messages.ForEach(func(_, message gjson.Result) bool {
		err = p.hearMessage(message, fmt.Sprintf("messages[%d]", index))
		index++
		return err == nil
	})
	if err == nil && index == 0 {
		err = invalid("messages", "The field 'messages' must not be empty.")
	}
	return err
}

var chatRoles = map[string]speaker{
	"system": fromElse, "developer": fromElse, "assistant": fromElse,
	"user": fromUser, "tool": fromTool, "function": fromTool,
}

func (p *prompt) hearMessage(message gjson.Result, param string) error {
	if !message.IsObject() {
		return invalid(param, "Each message must be an object.")
	}
	from, known := chatRoles[message.Get("role").Str]
	if !known {
		return invalid(param+".role", "The role of a message must be system, developer, user, assistant or tool.")
	}
	content := message.Get("content")
	if missing(content) && message.Get("role").Str == "assistant" {
		p.hear(from, "") // an assistant that called a tool said nothing
		return nil
	}
	text, err := contentText(content, param+".content")
	if err != nil {
		return err
	}
	p.hear(from, text)
	return nil
}
