package usage

import (
	"math"
	"strconv"

	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/types/known/structpb"
)

// mostTokens is more than any request can have: a number above it is a mistake or a
// lie, and is taken for missing.
const mostTokens = 1e9

// number reads a number of tokens that a provider wrote: a whole, non-negative number,
// or digits in a text. Everything else is -1, which is missing.
func number(value *structpb.Value) int64 {
	switch v := value.GetKind().(type) {
	case *structpb.Value_NumberValue:
		// NaN fails every comparison.
		if n := v.NumberValue; n >= 0 && n <= mostTokens && n == math.Trunc(n) {
			return int64(n)
		}
	case *structpb.Value_StringValue:
		if n, err := strconv.ParseUint(v.StringValue, 10, 32); err == nil && n <= mostTokens {
			return int64(n)
		}
	}
	return -1
}

// readUsage reads the numbers of a usage object.
func readUsage(fields map[string]*structpb.Value) found {
	if len(fields) == 0 {
		return nothing
	}
	if raw, ok := fields["raw"].GetKind().(*structpb.Value_StringValue); ok {
		return readRaw(raw.StringValue)
	}
	return found{
		input:     number(fields["input"]),
		output:    number(fields["output"]),
		total:     number(fields["total"]),
		cached:    number(fields["cached"]),
		reasoning: number(fields["reasoning"]),
	}
}

// readRaw reads the numbers of a usage object in the words of the API: of a chat, a
// completion or an embedding, or else of a response.
func readRaw(text string) found {
	if !gjson.Valid(text) {
		return nothing
	}
	said := gjson.Parse(text)
	return found{
		input:     rawNumber(said, "prompt_tokens", "input_tokens"),
		output:    rawNumber(said, "completion_tokens", "output_tokens"),
		total:     rawNumber(said, "total_tokens"),
		cached:    rawNumber(said, "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens"),
		reasoning: rawNumber(said, "completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens"),
	}
}

// rawNumber is the first of the paths that holds a number that can be believed.
func rawNumber(object gjson.Result, paths ...string) int64 {
	for _, path := range paths {
		switch value := object.Get(path); value.Type {
		case gjson.Number:
			if n := number(structpb.NewNumberValue(value.Num)); n >= 0 {
				return n
			}
		case gjson.String:
			if n := number(structpb.NewStringValue(value.Str)); n >= 0 {
				return n
			}
		}
	}
	return -1
}

// text is a value's text, cleaned; empty for every other kind of value.
func text(value *structpb.Value) string {
	if v, ok := value.GetKind().(*structpb.Value_StringValue); ok {
		return clean(v.StringValue, maxName)
	}
	return ""
}
