package usage

import (
	"math"
	"strconv"

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
	return found{
		input:     number(fields["input"]),
		output:    number(fields["output"]),
		total:     number(fields["total"]),
		cached:    number(fields["cached"]),
		reasoning: number(fields["reasoning"]),
	}
}

// text is a value's text, cleaned; empty for every other kind of value.
func text(value *structpb.Value) string {
	if v, ok := value.GetKind().(*structpb.Value_StringValue); ok {
		return clean(v.StringValue, maxName)
	}
	return ""
}
