package strict

import "strconv"

// Rules of several endpoints.
var (
	temperature = within(0, maxTemperature)
	topP        = within(0, 1)
	penalty     = within(-maxPenalty, maxPenalty)
	choices     = whole(1, maxChoices)
	positive    = whole(1, unbounded)
	natural     = whole(0, unbounded)
)

// chatRules are of fields that stand for themselves.
var chatRules = map[string]rule{
	"temperature":           temperature,
	"top_p":                 topP,
	"presence_penalty":      penalty,
	"frequency_penalty":     penalty,
	"n":                     choices,
	"max_tokens":            positive,
	"max_completion_tokens": positive,
	"stop":                  stop,
	"stream":                boolean,
	"stream_options":        streamOptions,
	"logprobs":              boolean,
	"top_logprobs":          whole(0, maxTopLogprobs),
	"response_format":       responseFormat,
}

func judgeChat(top object) *mistake {
	list, m := top.must("messages")
	if m != nil {
		return m
	}
	if m := judgeMessages(list); m != nil {
		return m.field("messages")
	}
	if m := top.judge(chatRules); m != nil {
		return m
	}
	if top.get("top_logprobs") != nil && string(top.get("logprobs")) != "true" {
		return is(`needs "logprobs" to be true`).field("top_logprobs")
	}
	if m := onlyStreaming(top); m != nil {
		return m
	}
	return judgeTools(top, chatForm)
}

func onlyStreaming(top object) *mistake {
	if top.get("stream_options") != nil && string(top.get("stream")) != "true" {
		return is(`needs "stream" to be true`).field("stream_options")
	}
	return nil
}

func streamOptions(v value) *mistake {
	if m := dictionary(v); m != nil {
		return m
	}
	if usage := v.get("include_usage"); usage != nil {
		if m := boolean(usage); m != nil {
			return m.field("include_usage")
		}
	}
	return nil
}

func stop(v value) *mistake {
	const what = "must be a string or a list of at most "
	switch v.kind() {
	case '"':
		return nil
	case '[':
		for w := v.each(); w.next(); {
			if w.index == maxStops {
				return is(what + strconv.Itoa(maxStops) + " strings")
			}
			if m := text(w.value); m != nil {
				return m.item(w.index)
			}
		}
		return nil
	}
	return is(what + strconv.Itoa(maxStops) + " strings")
}

var formatType = oneOf("text", "json_object", "json_schema")

func responseFormat(v value) *mistake {
	if m := dictionary(v); m != nil {
		return m
	}
	kind := v.get("type")
	if kind == nil {
		return missing("type")
	}
	if m := formatType(kind); m != nil {
		return m.field("type")
	}
	if !kind.is("json_schema") {
		return nil
	}
	if m := member(v, "json_schema", dictionary); m != nil {
		return m
	}
	if m := member(v.get("json_schema"), "name", name); m != nil {
		return m.field("json_schema")
	}
	return nil
}

// member holds an object's member, which has to be there, against its rule.
func member(v value, field string, judge rule) *mistake {
	inner := v.get(field)
	if inner == nil {
		return missing(field)
	}
	if m := judge(inner); m != nil {
		return m.field(field)
	}
	return nil
}
