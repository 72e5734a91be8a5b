package bedrock

import "github.com/tidwall/gjson"

// response reads a request for a response that has all it needs in itself. OpenAI
// stores a response unless it is told not to; here nothing is stored, which only
// previous_response_id and its like could tell apart, and those are refused.
func (r *request) response() (Call, *mistake) {
	r.asked.Form = Responses
	c := converse{request: r, turns: turns{dry: r.dry}, at: places{
		messages: "input", limit: "max_output_tokens", effort: "reasoning.effort", format: "text.format",
		thoughts: `reasoning with its "encrypted_content" before the call`,
	}}
	if m := c.begin(responseRules); m != nil {
		return Call{}, m
	}
	c.readMute(r.get("text").Get("format"))
	if m := c.input(r.get("instructions"), r.get("input")); m != nil {
		return Call{}, m
	}
	if m := c.readLimit("max_output_tokens"); m != nil {
		return Call{}, m
	}
	if m := c.readTools(true); m != nil {
		return Call{}, m
	}
	if m := c.textOptions(r.get("text")); m != nil {
		return Call{}, m.field("text")
	}
	if m := c.reasoning(r.get("reasoning")); m != nil {
		return Call{}, m.field("reasoning")
	}
	return c.call()
}

func (c *converse) input(instructions, input gjson.Result) *mistake {
	c.turns.begin(len(input.Raw))
	switch instructions.Type {
	case gjson.Null:
	case gjson.String:
		c.turns.instruct(instructions)
	default:
		return is(mustBeString).field("instructions")
	}
	switch {
	case input.Type == gjson.String:
		c.turns.text(user, input)
		return nil
	case !input.IsArray():
		return is("must be a string or a list of items").field("input")
	}
	if m := each(input, func(_ int, v gjson.Result) *mistake { return c.inputItem(v) }); m != nil {
		return m.field("input")
	}
	return nil
}

// inputItem reads one item.
func (c *converse) inputItem(v gjson.Result) *mistake {
	if !v.IsObject() {
		return is(mustBeObject)
	}
	switch kind := v.Get("type"); {
	case kind.Type == gjson.Null || kind.Str == "message":
		return c.inputMessage(v)
	case kind.Str == "reasoning":
		if m := c.sealed(v.Get("encrypted_content")); m != nil {
			return m.field("encrypted_content")
		}
		return nil
	case kind.Str == "function_call":
		if m := only(v, "type", "id", "call_id", "name", "arguments", "status"); m != nil {
			return m
		}
		return c.turns.call("call_id", v.Get("call_id"), v.Get("name"), v.Get("arguments"))
	case kind.Str == "function_call_output":
		if m := only(v, "type", "id", "call_id", "output", "status"); m != nil {
			return m
		}
		return c.inputResult(v.Get("call_id"), v.Get("output"))
	}
	return is("must be message, function_call, function_call_output or reasoning: nothing is stored that other items could be about").field("type")
}

func (c *converse) inputMessage(v gjson.Result) *mistake {
	if m := only(v, "type", "role", "content", "id", "status", "phase"); m != nil {
		return m
	}
	who, content := v.Get("role").Str, v.Get("content")
	text := func(one gjson.Result) { c.turns.text(user, one) }
	switch who {
	case "user":
	case "assistant":
		text = func(one gjson.Result) { c.turns.text(assistant, one) }
	case "system", "developer":
		text = c.turns.instruct
	default:
		return is("must be one of user, assistant, system, developer").field("role")
	}
	before := c.turns.blocks
	switch {
	case content.Type == gjson.String:
		text(content)
	case content.IsArray():
		if m := each(content, func(_ int, part gjson.Result) *mistake { return c.inputPart(part, who, text) }); m != nil {
			return m.field("content")
		}
	default:
		return is(mustBeContent).field("content")
	}
	if who == "user" && c.turns.blocks == before {
		return is("must not be blank: Amazon Bedrock takes no message without a word").field("content")
	}
	return nil
}

func (c *converse) inputPart(part gjson.Result, who string, text func(gjson.Result)) *mistake {
	if !part.IsObject() {
		return is(mustBeObject)
	}
	kind, member, beside := part.Get("type").Str, "text", []string(nil)
	switch {
	case kind == "input_image" && who == "user":
		return c.inputImage(part, func() { c.turns.block(user) })
	case kind == "refusal" && who == "assistant":
		member = "refusal"
	case kind == "output_text" && who == "assistant":
		beside = []string{"annotations", "logprobs"}
	case kind == "input_text":
	default:
		return is("must be input_text, or input_image of the user, or output_text or refusal of the assistant").field("type")
	}
	one := part.Get(member)
	if one.Type != gjson.String {
		return is(mustBeString).field(member)
	}
	text(one)
	return only(part, append(beside, "type", member)...)
}

func (c *converse) inputImage(part gjson.Result, begin func()) *mistake {
	url, m := alone(part, "image_url", "type", "detail")
	if m != nil {
		return m
	}
	if m := c.image(url, begin); m != nil {
		return m.field("image_url")
	}
	return nil
}

func (c *converse) inputResult(id, output gjson.Result) *mistake {
	if m := filled(id); m != nil {
		return m.field("call_id")
	}
	if output.Type != gjson.String && !output.IsArray() {
		return is(mustBeContent).field("output")
	}
	if m := c.turns.beginResult(id); m != nil {
		return m.field("call_id")
	}
	defer c.turns.endResult()
	if output.Type == gjson.String {
		c.turns.resultText(output)
		return nil
	}
	m := each(output, func(_ int, part gjson.Result) *mistake {
		if part.IsObject() && part.Get("type").Str == "input_image" && c.model.has(canSeeResults) {
			return c.inputImage(part, c.turns.resultBlock)
		}
		text, m := textPart(part, "input_text", "text")
		if m == nil {
			c.turns.resultText(text)
		}
		return m
	})
	if m != nil {
		return m.field("output")
	}
	return nil
}

func (c *converse) textOptions(v gjson.Result) *mistake {
	if v.Type == gjson.Null {
		return nil
	}
	if !v.IsObject() {
		return is(mustBeObject)
	}
	if verbosity := v.Get("verbosity"); verbosity.Type != gjson.Null && !medium.neutral(verbosity) {
		return is(medium.why).field("verbosity")
	}
	if m := only(v, "format", "verbosity"); m != nil {
		return m
	}
	if m := c.readFormat(v.Get("format"), v.Get("format")); m != nil {
		return m.field("format")
	}
	return nil
}

func (c *converse) reasoning(v gjson.Result) *mistake {
	if v.Type == gjson.Null {
		return nil
	}
	if !v.IsObject() {
		return is(mustBeObject)
	}
	if summary := v.Get("summary"); summary.Type != gjson.Null && summary.Str != "auto" {
		return is("must be auto or left out: how reasoning is summed up cannot be said to this model").field("summary")
	}
	if m := only(v, "effort", "summary"); m != nil {
		return m
	}
	if m := c.readEffort(v.Get("effort")); m != nil {
		return m.field("effort")
	}
	return nil
}
