package demo

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxQuote is how much of what it was told the model repeats, in characters.
const maxQuote = 200

const introduction = "I am Postern's demo model: I answer offline, word by word, and cost nothing."

// sentence is the model's whole wisdom.
func (p *prompt) sentence() string {
	switch {
	case p.last == fromTool:
		return fmt.Sprintf("The tool answered: %s %s", quote(p.result), introduction)
	case strings.TrimSpace(p.user) == "":
		return "Hello! " + introduction
	default:
		return fmt.Sprintf("You said: %s %s", quote(p.user), introduction)
	}
}

func quote(text string) string { return "“" + shorten(text) + "”" }

// shorten is the beginning of a text, marked where it was cut.
func shorten(text string) string {
	text = strings.TrimSpace(text)
	count := 0
	for i := range text {
		if count == maxQuote {
			return strings.TrimSpace(text[:i]) + "…"
		}
		count++
	}
	return text
}

// pieces cuts a text into words, each with the space before it; together they are
// the text. They are the model's tokens: what it counts, limits and streams.
func pieces(text string) []string {
	var out []string
	start, inWord := 0, false
	for i, c := range text {
		space := unicode.IsSpace(c)
		if space && inWord {
			out = append(out, text[start:i])
			start = i
		}
		inWord = !space
	}
	if start < len(text) {
		out = append(out, text[start:])
	}
	return out
}

// count is the number of words of a text, without making them.
func count(text string) int {
	words, inWord := 0, false
	for len(text) > 0 {
		c, size := utf8.DecodeRuneInString(text)
		space := unicode.IsSpace(c)
		if !space && !inWord {
			words++
		}
		inWord = !space
		text = text[size:]
	}
	return words
}

// usage is what a request and its answer cost, in words.
type usage struct{ prompt, completion int }

// chat is the usage in the form of chat/completions, completions and embeddings.
func (u usage) chat() object {
	return object{
		"prompt_tokens": u.prompt, "completion_tokens": u.completion, "total_tokens": u.prompt + u.completion,
		"prompt_tokens_details":     object{"cached_tokens": 0},
		"completion_tokens_details": object{"reasoning_tokens": 0},
	}
}

// responses is the usage in the form of /v1/responses.
func (u usage) responses() object {
	return object{
		"input_tokens": u.prompt, "output_tokens": u.completion, "total_tokens": u.prompt + u.completion,
		"input_tokens_details":  object{"cached_tokens": 0},
		"output_tokens_details": object{"reasoning_tokens": 0},
	}
}
