package bedrock

// ending is why a model stopped.
type ending uint8

const (
	saidAll   ending = iota + 1 // it said all, or called a tool
	cutShort                    // there was no room for more
	filtered                    // a guardrail or a filter stepped in
	malformed                   // what it said was no answer
)

// endings is Bedrock's stopReason
// (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html).
var endings = map[string]ending{
	"end_turn":                      saidAll,
	"stop_sequence":                 saidAll,
	"tool_use":                      saidAll,
	"max_tokens":                    cutShort,
	"model_context_window_exceeded": cutShort,
	"guardrail_intervened":          filtered,
	"content_filtered":              filtered,
	"refusal":                       filtered,
	"malformed_model_output":        malformed,
	"malformed_tool_use":            malformed,
}

// endingOf reads a stopReason. One that is not known is a normal end, because Bedrock
// did end the message and OpenAI's list of reasons is closed; odd is its name, for the
// log.
func endingOf(reason string) (end ending, odd string) {
	if end, known := endings[reason]; known {
		return end, ""
	}
	return saidAll, scrub(reason)
}

// finish is the finish_reason of chat and of completions. Whether tools were called is
// counted and not believed: some models say end_turn after a call, and tool_use without
// one.
func (e ending) finish(called bool) string {
	switch {
	case e == cutShort:
		return "length"
	case e == filtered:
		return "content_filter"
	case called:
		return "tool_calls"
	default:
		return "stop"
	}
}

// incomplete is the reason in a response's incomplete_details; empty if it is complete.
func (e ending) incomplete() string {
	switch e {
	case cutShort:
		return "max_output_tokens"
	case filtered:
		return "content_filter"
	default:
		return ""
	}
}
