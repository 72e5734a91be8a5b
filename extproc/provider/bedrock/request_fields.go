package bedrock

import (
	"slices"

	"github.com/tidwall/gjson"
)

// rule says what becomes of a field of the top level.
type rule struct {
	// neutral says that a value asks for what Bedrock does anyway. A field without
	// it is read elsewhere, or is dropped on purpose.
	neutral func(v gjson.Result) bool
	why     string // what is said of any other value
}

type rules map[string]rule

const leaveOut = "has no counterpart in Amazon Bedrock: leave it out"

var (
	// mapped fields are read by those who translate them.
	mapped = rule{}
	// dropped fields do not reach the model at OpenAI either: they are for billing,
	// for finding things again and for the cache of prompts, which answers alike.
	dropped = rule{}
	refused = rule{never, leaveOut}
	zero    = rule{func(v gjson.Result) bool { return v.Type == gjson.Number && v.Num == 0 }, "must be 0 or left out: Amazon Bedrock has no counterpart for it"}
	single  = rule{func(v gjson.Result) bool { return v.Type == gjson.Number && v.Num == 1 }, "must be 1 or left out: Amazon Bedrock gives one answer to a request"}
	off     = rule{func(v gjson.Result) bool { return v.Type == gjson.False }, "must be false or left out: Amazon Bedrock has no counterpart for it"}
	// stored is also right where it is absent, though OpenAI then stores a response:
	// nothing can ask for it here, because whatever names a stored one is refused.
	stored   = rule{off.neutral, "must be false or left out: nothing is stored for this model"}
	nothing  = rule{empty, "must be empty or left out: Amazon Bedrock has no counterpart for it"}
	ordinary = rule{word("auto", "default"), "must be auto, default or left out: the tiers of Amazon Bedrock are others"}
	medium   = rule{word("medium"), "must be medium or left out: Amazon Bedrock has no counterpart for it"}
)

var chatRules = rules{
	"model": mapped, "messages": mapped, "stream": mapped, "stream_options": mapped,
	"max_tokens": mapped, "max_completion_tokens": mapped, "temperature": mapped, "top_p": mapped, "stop": mapped,
	"tools": mapped, "tool_choice": mapped, "parallel_tool_calls": mapped,
	"response_format": mapped, "reasoning_effort": mapped,

	"user": dropped, "metadata": dropped, "safety_identifier": dropped,
	"prompt_cache_key": dropped, "prompt_cache_retention": dropped,

	"n": single, "logprobs": off, "top_logprobs": zero, "logit_bias": nothing, "seed": refused,
	"frequency_penalty": zero, "presence_penalty": zero, "service_tier": ordinary, "verbosity": medium,
	"modalities": {textOnly, `must be ["text"] or left out: these models answer with text`},
	"audio":      refused, "prediction": refused, "web_search_options": refused, "store": stored,
	"functions":     {empty, `is out of date: say it with "tools"`},
	"function_call": {never, `is out of date: say it with "tool_choice"`},
}

var completionRules = rules{
	"model": mapped, "prompt": mapped, "stream": mapped, "stream_options": mapped,
	"max_tokens": mapped, "temperature": mapped, "top_p": mapped, "stop": mapped,

	"user": dropped,

	"n": single, "best_of": single, "logprobs": refused, "echo": off,
	"suffix":     {func(v gjson.Result) bool { return v.Type == gjson.String && v.Str == "" }, "must be empty or left out: these models only go on from a prompt's end"},
	"logit_bias": nothing, "seed": refused, "frequency_penalty": zero, "presence_penalty": zero,
}

var embeddingRules = rules{
	"model": mapped, "input": mapped, "dimensions": mapped, "encoding_format": mapped,

	"user": dropped,
}

var responseRules = rules{
	"model": mapped, "input": mapped, "instructions": mapped, "stream": mapped, "stream_options": mapped,
	"max_output_tokens": mapped, "temperature": mapped, "top_p": mapped,
	"tools": mapped, "tool_choice": mapped, "parallel_tool_calls": mapped, "text": mapped, "reasoning": mapped,

	"user": dropped, "metadata": dropped, "safety_identifier": dropped,
	"prompt_cache_key": dropped, "prompt_cache_retention": dropped,

	"previous_response_id": {never, "cannot be used: no response is stored for this model, so send the whole conversation as input"},
	"conversation":         {never, "cannot be used: no conversation is stored for this model, so send all of it as input"},
	"prompt":               {never, "cannot be used: no prompt is stored for this model"},
	"store":                stored,
	"background":           {off.neutral, "must be false or left out: nothing runs in the background here"},
	"include":              {sealedOnly, "must be reasoning.encrypted_content, empty or left out: there is nothing more of an answer than what it has"},
	"truncation":           {word("disabled"), "must be disabled or left out: nothing is cut off an input"},
	"max_tool_calls":       refused, "context_management": nothing,
	"top_logprobs": zero, "service_tier": ordinary,
}

func never(gjson.Result) bool { return false }

func empty(v gjson.Result) bool {
	some := false
	v.ForEach(func(_, _ gjson.Result) bool {
		some = true
		return false
	})
	return v.Type == gjson.JSON && !some
}

func word(words ...string) func(v gjson.Result) bool {
	return func(v gjson.Result) bool { return v.Type == gjson.String && slices.Contains(words, v.Str) }
}

// sealedOnly asks for nothing but what an answer has anyway where its model reasons.
func sealedOnly(v gjson.Result) bool {
	ok := v.IsArray()
	v.ForEach(func(_, what gjson.Result) bool {
		ok = ok && what.Str == "reasoning.encrypted_content"
		return ok
	})
	return ok
}

func textOnly(v gjson.Result) bool {
	ok := v.IsArray()
	v.ForEach(func(_, kind gjson.Result) bool {
		ok = ok && kind.Str == "text"
		return ok
	})
	return ok
}

// judge holds every field of the top level against the rules, in the order of the
// body, and takes along those that the operator lets through.
func (r *request) judge(rules rules) *mistake {
	for _, field := range r.fields {
		rule, known := rules[field.Name]
		if known && rule.neutral == nil {
			continue
		}
		v := r.value(field)
		if v.Type == gjson.Null || known && rule.neutral(v) {
			continue
		}
		switch {
		case slices.Contains(r.settings.Fields, field.Name) && plainName(field.Name):
			r.extra.add(field.Name, v.Raw)
		case known:
			return is(rule.why).field(field.Name)
		default:
			return unknown(field.Name)
		}
	}
	return nil
}

// boolean reads a field that is true or false; false where it is absent.
func (r *request) boolean(name string) (yes bool, m *mistake) {
	switch v := r.get(name); v.Type {
	case gjson.True:
		return true, nil
	case gjson.Null, gjson.False:
		return false, nil
	default:
		return false, is(mustBeBoolean).field(name)
	}
}

// streaming reads stream and stream_options. What obscures the length of chunks is
// not passed on: it does not change what they say.
func (r *request) streaming() *mistake {
	stream, m := r.boolean("stream")
	if m != nil {
		return m
	}
	r.asked.Stream = stream
	options := r.get("stream_options")
	if options.Type == gjson.Null {
		return nil
	}
	switch usage := options.Get("include_usage"); {
	case !options.IsObject():
		return is(mustBeObject).field("stream_options")
	case !stream:
		return is(`needs "stream" to be true`).field("stream_options")
	case usage.Type == gjson.True:
		r.asked.IncludeUsage = true
	case usage.Type != gjson.Null && usage.Type != gjson.False:
		return is(mustBeBoolean).field("include_usage").field("stream_options")
	}
	if m := only(options, "include_usage", "include_obfuscation"); m != nil {
		return m.field("stream_options")
	}
	return nil
}
