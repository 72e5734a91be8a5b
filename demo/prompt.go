package demo

import "github.com/tidwall/gjson"

// speaker is who had the last word in a conversation.
type speaker uint8

const (
	fromElse speaker = iota // system, developer, assistant
	fromUser
	fromTool
)

// prompt is what the model understood of a request, whichever endpoint it came by.
type prompt struct {
	user   string  // the last thing a user said
	result string  // what a tool answered, where it had the last word
	last   speaker // who had the last word
	words  int     // all texts of the conversation
	limit  int     // most words of an answer; 0: no limit
	tool   tool    // the tool to call when the user had the last word, if any
	format format  // what to write instead of a sentence, if anything
}

// format is the form an answer is asked for in; the zero value is text.
type format struct {
	json   bool
	schema gjson.Result // of the JSON; absent: any object
}

// hear takes in one more message of the conversation.
func (p *prompt) hear(from speaker, text string) {
	p.last = from
	p.words += count(text)
	switch from {
	case fromUser:
		p.user = text
	case fromTool:
		p.result = text
	}
}

// How an answer ends, in the words of chat/completions.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishTool   = "tool_calls"
)

// reply is the model's answer to a prompt: pieces of text or, where tool is set, of
// the tool's arguments.
type reply struct {
	tool   string
	pieces []string
	finish string
}

// reply is the answer; all answers to one prompt are alike but for their number.
func (p *prompt) reply(suffix string) reply {
	if p.tool.name != "" && p.last == fromUser {
		return reply{tool: p.tool.name, pieces: pieces(p.tool.arguments(p.user)), finish: finishTool}
	}
	text := p.sentence()
	if p.format.json {
		text = p.format.write(text, p.user)
	} else {
		text += suffix
	}
	return cut(pieces(text), p.limit)
}

func cut(words []string, limit int) reply {
	if limit > 0 && len(words) > limit {
		return reply{pieces: words[:limit], finish: finishLength}
	}
	return reply{pieces: words, finish: finishStop}
}

// write is the JSON text of an answer.
func (f format) write(sentence, user string) string {
	if !f.schema.Exists() {
		return string(encode(object{"answer": sentence}))
	}
	return fill(f.schema, user)
}
