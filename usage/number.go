package usage

import (
	"math"
	"strconv"

	"github.com/tidwall/gjson"
)

// mostTokens is more than any request can have: a number above it is a mistake or a
// lie, and is taken for missing.
const mostTokens = 1e9

// believed is a number of tokens that a provider wrote, if it is a whole, non-negative
// one; else -1, which is missing.
func believed(n float64) int64 {
	// NaN fails every comparison.
	if n >= 0 && n <= mostTokens && n == math.Trunc(n) {
		return int64(n)
	}
	return -1
}

// digits is a number of tokens that was written as a text.
func digits(text string) int64 {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil && n <= mostTokens {
		return int64(n)
	}
	return -1
}

// tokens is the number in a value, as a number or as a text; else -1.
func (v value) tokens() int64 {
	switch v.kind {
	case numberValue:
		return believed(v.number)
	case textValue:
		return digits(string(v.text))
	}
	return -1
}

// found reads the numbers.
func (to *said) found() found {
	if to.raw.kind == textValue {
		return readRaw(string(to.raw.text))
	}
	return found{
		input:     to.input.tokens(),
		output:    to.output.tokens(),
		total:     to.total.tokens(),
		cached:    to.cached.tokens(),
		written:   to.written.tokens(),
		reasoning: to.reasoning.tokens(),
	}
}

// rawFields are where a usage object has its numbers, in the words of a chat, a
// completion or an embedding, and then of a response; part is where in an object.
var rawFields = [...]struct{ name, part string }{
	{"prompt_tokens", ""}, {"input_tokens", ""},
	{"completion_tokens", ""}, {"output_tokens", ""},
	{"prompt_tokens_details", "cached_tokens"}, {"input_tokens_details", "cached_tokens"},
	{"completion_tokens_details", "reasoning_tokens"}, {"output_tokens_details", "reasoning_tokens"},
	{"prompt_tokens_details", "cache_write_tokens"}, {"input_tokens_details", "cache_write_tokens"},
	{"total_tokens", ""},
}

// readRaw reads the numbers of a usage object. Where a field stands twice, the first
// one counts; of a number that both APIs have a word for, the first that can be believed.
func readRaw(text string) found {
	if !gjson.Valid(text) {
		return nothing
	}
	var known [len(rawFields)]bool
	var numbers [len(rawFields)]int64
	gjson.Parse(text).ForEach(func(key, value gjson.Result) bool {
		for i := range rawFields {
			if field := &rawFields[i]; field.name == key.Str && !known[i] {
				known[i], numbers[i] = true, rawNumber(value, field.part)
			}
		}
		return true
	})
	either := func(at int) int64 {
		for i := at; i < min(at+2, len(numbers)); i++ {
			if known[i] && numbers[i] >= 0 {
				return numbers[i]
			}
		}
		return -1
	}
	return found{input: either(0), output: either(2), cached: either(4), reasoning: either(6), written: either(8), total: either(10)}
}

// rawNumber is a value, or its part, if it is a number that can be believed; else -1.
func rawNumber(value gjson.Result, part string) int64 {
	if part != "" {
		if !value.IsObject() {
			return -1
		}
		value = value.Get(part)
	}
	switch value.Type {
	case gjson.Number:
		return believed(value.Num)
	case gjson.String:
		return digits(value.Str)
	}
	return -1
}
