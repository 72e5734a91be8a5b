package bedrock

import "github.com/tidwall/gjson"

// completion reads a request for a completion: its prompt is what a user says. An
// absent max_tokens is the model's own most, and not the 16 of OpenAI's reference.
func (r *request) completion() (Call, *mistake) {
	r.asked.Form = Completions
	c := converse{request: r, turns: turns{dry: r.dry}, at: places{messages: "prompt", limit: "max_tokens"}}
	if m := c.begin(completionRules); m != nil {
		return Call{}, m
	}
	prompt, m := oneText(r.get("prompt"), "one prompt, because Amazon Bedrock takes one a call")
	if m != nil {
		return Call{}, m.field("prompt")
	}
	if m := c.readLimit("max_tokens"); m != nil {
		return Call{}, m
	}
	c.turns.begin(len(prompt.Raw))
	c.turns.text(user, prompt)
	return c.call()
}

// oneText reads a string, or a list with one string in it; what says what else a list
// would have to be.
func oneText(v gjson.Result, what string) (text gjson.Result, m *mistake) {
	text = v
	if v.IsArray() {
		n := 0
		v.ForEach(func(_, one gjson.Result) bool {
			text = one
			n++
			return n < 2
		})
		switch {
		case n == 0:
			return text, is("must not be an empty list")
		case text.Type == gjson.Number || text.IsArray():
			return text, is("must be text: tokens of other models mean nothing to this one")
		case n > 1:
			return text, is("must have " + what)
		}
	}
	if text.Type != gjson.String {
		return text, is("must be a string, or a list of one string")
	}
	return text, filled(text)
}
