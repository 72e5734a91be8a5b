package strict

import "strconv"

var responseRules = map[string]rule{
	"instructions":      partText,
	"temperature":       temperature,
	"top_p":             topP,
	"top_logprobs":      whole(0, maxTopLogprobs),
	"max_output_tokens": positive,
	"stream":            boolean,
	"stream_options":    dictionary,
}

// judgeResponse judges a request for a response. What it goes on from may stand
// somewhere else than in it; then it needs no input.
func judgeResponse(top object) *mistake {
	input := top.get("input")
	goesOn := top.get("previous_response_id") != nil || top.get("conversation") != nil || top.get("prompt") != nil
	switch {
	case input != nil:
		if m := judgeItems(input, goesOn); m != nil {
			return m.field("input")
		}
	case !goesOn:
		return missing("input")
	}
	if m := top.judge(responseRules); m != nil {
		return m
	}
	if instructions := top.get("instructions"); instructions != nil {
		if m := clean(instructions); m != nil {
			return m.field("instructions")
		}
	}
	if m := onlyStreaming(top); m != nil {
		return m
	}
	return judgeTools(top, responseForm)
}

func judgeItems(input value, mayBeEmpty bool) *mistake {
	switch input.kind() {
	case '"':
		if m := notLong(input); m != nil {
			return m
		}
		return clean(input)
	case '[':
	default:
		return is("must be a string or a list of items")
	}
	count := 0
	for w := input.each(); w.next(); count++ {
		if w.index == maxItems {
			return is("must have at most " + strconv.Itoa(maxItems) + " items")
		}
		if m := judgeItem(w.value); m != nil {
			return m.item(w.index)
		}
	}
	if count == 0 && !mayBeEmpty {
		return is("must not be an empty list")
	}
	return clean(input)
}

var itemRole = oneOf("user", "assistant", "system", "developer")

// judgeItem judges an item: a message, which has a role, or something else, which
// has a type that says what.
func judgeItem(v value) *mistake {
	if m := dictionary(v); m != nil {
		return m
	}
	kind, said := v.get("type"), v.get("role")
	if kind == nil && said == nil {
		return is(`needs a "type" or a "role"`)
	}
	if kind != nil {
		if m := filled(kind); m != nil {
			return m.field("type")
		}
		if !kind.is("message") {
			return nil
		}
	}
	if m := member(v, "role", itemRole); m != nil {
		return m
	}
	return member(v, "content", itemContent)
}

func itemContent(v value) *mistake {
	switch v.kind() {
	case '"':
		return notLong(v)
	case '[':
	default:
		return is("must be a string or a list of parts")
	}
	for w := v.each(); w.next(); {
		if m := dictionary(w.value); m != nil {
			return m.item(w.index)
		}
		if m := member(w.value, "type", filled); m != nil {
			return m.item(w.index)
		}
		if inner := w.value.get("text"); inner != nil {
			if m := partText(inner); m != nil {
				return m.field("text").item(w.index)
			}
		}
	}
	return nil
}

var completionRules = map[string]rule{
	"temperature":       temperature,
	"top_p":             topP,
	"presence_penalty":  penalty,
	"frequency_penalty": penalty,
	"n":                 choices,
	"best_of":           whole(0, maxBestOf),
	"max_tokens":        natural,
	"logprobs":          whole(0, maxLogprobs),
	"stop":              stop,
	"stream":            boolean,
	"stream_options":    streamOptions,
}

func judgeCompletion(top object) *mistake {
	prompt, m := top.must("prompt")
	if m != nil {
		return m
	}
	if m := (texts{most: maxInputs}).judge(prompt); m != nil {
		return m.field("prompt")
	}
	if m := clean(prompt); m != nil {
		return m.field("prompt")
	}
	if m := top.judge(completionRules); m != nil {
		return m
	}
	return onlyStreaming(top)
}

var embeddingRules = map[string]rule{
	"dimensions":      positive,
	"encoding_format": oneOf("float", "base64"),
}

// judgeEmbedding judges a request for embeddings. Control characters pass: its
// input is data that nobody obeys, and text taken out of documents has form feeds.
func judgeEmbedding(top object) *mistake {
	input, m := top.must("input")
	if m != nil {
		return m
	}
	if m := (texts{most: maxInputs, tokens: maxTokens, filled: true}).judge(input); m != nil {
		return m.field("input")
	}
	return top.judge(embeddingRules)
}

// texts is a rule for what is a string, a list of strings, a list of tokens, or a
// list of lists of tokens.
type texts struct {
	most   int  // strings, or lists of tokens
	tokens int  // in one list; 0: any number, bounded by the body's size
	filled bool // no string may be empty
}

func (t texts) judge(v value) *mistake {
	switch v.kind() {
	case '"':
		return t.text(v)
	case '[':
	default:
		return is("must be a string or a list of strings or tokens")
	}
	w := v.each()
	if !w.next() {
		return is("must not be an empty list")
	}
	first := w.value.kind()
	if first == '0' {
		return t.list(v)
	}
	for more := true; more; more = w.next() {
		if w.index == t.most {
			return is("must have at most " + strconv.Itoa(t.most) + " elements")
		}
		if m := t.element(w.value, first); m != nil {
			return m.item(w.index)
		}
	}
	return nil
}

func (t texts) element(v value, first byte) *mistake {
	switch {
	case v.kind() != first || first != '"' && first != '[':
		return is("must be a string or a list of tokens, as all the others are")
	case first == '"':
		return t.text(v)
	default:
		return t.list(v)
	}
}

func (t texts) text(v value) *mistake {
	if t.filled {
		if m := filled(v); m != nil {
			return m
		}
	}
	return partText(v)
}

func (t texts) list(v value) *mistake {
	count := 0
	for w := v.each(); w.next(); count++ {
		if t.tokens > 0 && w.index == t.tokens {
			return is("must have at most " + strconv.Itoa(t.tokens) + " tokens")
		}
		if m := natural(w.value); m != nil {
			return m.item(w.index)
		}
	}
	if count == 0 {
		return is("must not be an empty list")
	}
	return nil
}
