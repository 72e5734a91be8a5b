package demo

import (
	"iter"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"
)

// maxInputs is the most prompts or texts in one request.
const maxInputs = 2048

// completions answers POST /v1/completions.
func (m *Model) completions(w http.ResponseWriter, r *http.Request, body gjson.Result) error {
	how, err := readWish(body)
	if err != nil {
		return err
	}
	limit, err := limitField(body, "max_tokens")
	if err != nil {
		return err
	}
	prompts, err := readTexts(body, "prompt")
	if err != nil {
		return err
	}
	answer := completion{id: m.id("cmpl-"), created: m.now(), model: how.model}
	for _, text := range prompts {
		p := prompt{limit: limit}
		p.hear(fromUser, text)
		answer.usage.prompt += p.words
		for i := range how.choices {
			choice := p.reply(suffix(i))
			answer.usage.completion += len(choice.pieces)
			answer.choices = append(answer.choices, choice)
		}
	}
	if how.on {
		return m.play(w, r, answer.frames(how.usage))
	}
	writeJSON(w, http.StatusOK, encode(answer.whole()))
	return nil
}

// readTexts is a field of the forms "text", ["text", …], [tokens…], [[tokens…], …].
// A list of tokens counts as one text: their numbers as words.
func readTexts(body gjson.Result, name string) ([]string, error) {
	value := body.Get(name)
	switch {
	case missing(value):
		return nil, invalid(name, "The field '%s' is missing.", name)
	case value.Type == gjson.String:
		return []string{value.Str}, nil
	case !value.IsArray():
		return nil, invalid(name, "The field '%s' must be a string or a list.", name)
	case value.Get("0").Type == gjson.Number:
		text, err := tokens(value, name)
		return []string{text}, err
	}
	var texts []string
	var err error
	value.ForEach(func(_, entry gjson.Result) bool {
		text := entry.Str
		switch {
		case len(texts) == maxInputs:
			err = invalid(name, "The field '%s' must have at most %d entries.", name, maxInputs)
		case entry.IsArray():
			text, err = tokens(entry, name)
		case entry.Type != gjson.String:
			err = invalid(name, "The entries of '%s' must be all strings, or all lists of tokens.", name)
		}
		texts = append(texts, text)
		return err == nil
	})
	if err == nil && len(texts) == 0 {
		err = invalid(name, "The field '%s' must not be empty.", name)
	}
	return texts, err
}

func tokens(list gjson.Result, name string) (string, error) {
	var text strings.Builder
	valid := true
	list.ForEach(func(_, token gjson.Result) bool {
		valid = token.Type == gjson.Number
		text.WriteString(token.Raw)
		text.WriteByte(' ')
		return valid
	})
	if !valid || text.Len() == 0 {
		return "", invalid(name, "A list of tokens in '%s' must hold numbers.", name)
	}
	return text.String(), nil
}

// completion is an answer in the form of completions.
type completion struct {
	id      string
	created int64
	model   string
	choices []reply
	usage   usage
}

func (c completion) form(choices []object) object {
	return object{
		"id": c.id, "object": "text_completion", "created": c.created, "model": c.model,
		"system_fingerprint": "demo", "choices": choices,
	}
}

func textChoice(index int, text string, finish any) object {
	return object{"index": index, "text": text, "logprobs": nil, "finish_reason": finish}
}

// whole is the answer in one object.
func (c completion) whole() object {
	choices := make([]object, 0, len(c.choices))
	for i, choice := range c.choices {
		choices = append(choices, textChoice(i, strings.Join(choice.pieces, ""), choice.finish))
	}
	out := c.form(choices)
	out["usage"] = c.usage.chat()
	return out
}

// frames is the answer as a stream, one choice after the other.
func (c completion) frames(withUsage bool) iter.Seq[frame] {
	chunk := func(choices []object, used any) []byte {
		out := c.form(choices)
		if withUsage {
			out["usage"] = used
		}
		return encode(out)
	}
	return func(yield func(frame) bool) {
		for i, choice := range c.choices {
			for _, piece := range choice.pieces {
				if !yield(frame{data: chunk([]object{textChoice(i, piece, nil)}, nil), pause: true}) {
					return
				}
			}
			if !yield(frame{data: chunk([]object{textChoice(i, "", choice.finish)}, nil)}) {
				return
			}
		}
		if withUsage && !yield(frame{data: chunk([]object{}, c.usage.chat())}) {
			return
		}
		yield(done)
	}
}
