package bedrock

import "github.com/tidwall/gjson"

// chat reads a request for a chat completion.
func (r *request) chat() (Call, *mistake) {
	r.asked.Form = Chat
	c := converse{request: r, turns: turns{dry: r.dry}, at: places{
		messages: "messages", limit: "max_completion_tokens", effort: "reasoning_effort", format: "response_format",
		thoughts: `"thinking_blocks" of the message that calls it`,
	}}
	if m := c.begin(chatRules); m != nil {
		return Call{}, m
	}
	c.readMute(r.get("response_format"))
	if m := c.messages(r.get("messages")); m != nil {
		return Call{}, m.field("messages")
	}
	if m := c.readLimit("max_completion_tokens", "max_tokens"); m != nil {
		return Call{}, m
	}
	if m := c.readTools(false); m != nil {
		return Call{}, m
	}
	if m := c.readFormat(r.get("response_format"), r.get("response_format").Get("json_schema")); m != nil {
		return Call{}, m.field("response_format")
	}
	if m := c.readEffort(r.get("reasoning_effort")); m != nil {
		return Call{}, m.field("reasoning_effort")
	}
	return c.call()
}

// messages reads the conversation.
func (c *converse) messages(list gjson.Result) *mistake {
	if !list.IsArray() {
		return is("must be a list of messages")
	}
	c.turns.begin(len(list.Raw))
	return each(list, func(_ int, v gjson.Result) *mistake { return c.message(v) })
}

// message is one, with what is null left out.
type message struct {
	role, content, name, toolCallID, toolCalls, refusal, thinking gjson.Result

	aside string // a member that an answer has and no model is shown again
}

func (c *converse) message(v gjson.Result) *mistake {
	if !v.IsObject() {
		return is(mustBeObject)
	}
	msg, m := readMessage(v)
	if m != nil {
		return m
	}
	switch msg.role.Str {
	case "system", "developer":
		return c.instruction(&msg)
	case "user":
		return c.said(&msg)
	case "assistant":
		return c.answered(&msg)
	case "tool":
		return c.result(&msg)
	case "function":
		return is(`must be "tool": functions are out of date`).field("role")
	}
	return is("must be one of developer, system, user, assistant, tool").field("role")
}

// readMessage reads a message's members, those of null apart.
func readMessage(v gjson.Result) (msg message, m *mistake) {
	v.ForEach(func(key, member gjson.Result) bool {
		if member.Type != gjson.Null {
			m = msg.take(key.Str, member)
		}
		return m == nil
	})
	if m == nil {
		m = msg.judge()
	}
	return msg, m
}

// take reads one member. What an answer has beyond what a model is shown again is
// dropped: annotations, and reasoning as plain text, which OpenAI's models do not see
// again either.
func (msg *message) take(name string, v gjson.Result) *mistake {
	switch name {
	case "role":
		msg.role = v
	case "content":
		msg.content = v
	case "name":
		msg.name = v
	case "tool_call_id":
		msg.toolCallID = v
	case "tool_calls":
		msg.toolCalls = v
	case "refusal":
		msg.refusal = v
	case "thinking_blocks":
		msg.thinking = v
	case "annotations", "reasoning_content", "reasoning":
		msg.aside = name
	case "function_call":
		return is(`is out of date: say it with "tool_calls"`).field(name)
	case "audio":
		return is("cannot be used: these models do not hear or speak").field(name)
	default:
		return unknown(name)
	}
	return nil
}

// judge refuses members that are not for a message of this role. A tool's name is
// known by its call; who else speaks would be known by the name alone.
func (msg *message) judge() *mistake {
	who := msg.role.Str
	for _, of := range []struct {
		name, role string
		there      bool
	}{
		{"tool_calls", "assistant", msg.toolCalls.Type != gjson.Null},
		{"refusal", "assistant", msg.refusal.Type != gjson.Null},
		{"thinking_blocks", "assistant", msg.thinking.Type != gjson.Null},
		{msg.aside, "assistant", msg.aside != ""},
		{"tool_call_id", "tool", msg.toolCallID.Type != gjson.Null},
	} {
		if of.there && who != of.role {
			return is("is for messages of the role " + of.role).field(of.name)
		}
	}
	if msg.name.Type != gjson.Null && who != "tool" && who != "function" {
		return is("cannot be told to this model: Amazon Bedrock's messages have no names, so say it in the content").field("name")
	}
	return nil
}

func (c *converse) instruction(msg *message) *mistake {
	switch {
	case msg.content.Type == gjson.String:
		c.turns.instruct(msg.content)
		return nil
	case !msg.content.IsArray():
		return is(mustBeContent).field("content")
	}
	return inContent(each(msg.content, func(_ int, part gjson.Result) *mistake {
		text, m := textPart(part, "text", "text")
		if m == nil {
			c.turns.instruct(text)
		}
		return m
	}))
}

func (c *converse) said(msg *message) *mistake {
	before := c.turns.blocks
	switch {
	case msg.content.Type == gjson.String:
		c.turns.text(user, msg.content)
	case msg.content.IsArray():
		if m := each(msg.content, func(_ int, part gjson.Result) *mistake { return c.userPart(part) }); m != nil {
			return m.field("content")
		}
	default:
		return is(mustBeContent).field("content")
	}
	if c.turns.blocks == before {
		return is("must not be blank: Amazon Bedrock takes no message without a word").field("content")
	}
	return nil
}

// answered reads what the assistant said. What it refused is something it said, too.
func (c *converse) answered(msg *message) *mistake {
	if m := c.thoughts(msg.thinking); m != nil {
		return m.field("thinking_blocks")
	}
	switch {
	case msg.content.Type == gjson.String:
		c.turns.text(assistant, msg.content)
	case msg.content.IsArray():
		if m := each(msg.content, func(_ int, part gjson.Result) *mistake { return c.assistantPart(part) }); m != nil {
			return m.field("content")
		}
	case msg.content.Type != gjson.Null:
		return is(mustBeContent).field("content")
	}
	if msg.refusal.Type != gjson.Null {
		if msg.refusal.Type != gjson.String {
			return is(mustBeString).field("refusal")
		}
		c.turns.text(assistant, msg.refusal)
	}
	if msg.toolCalls.Type == gjson.Null {
		return nil
	}
	if !msg.toolCalls.IsArray() {
		return is("must be a list of calls").field("tool_calls")
	}
	if m := each(msg.toolCalls, func(_ int, v gjson.Result) *mistake { return c.toolCall(v) }); m != nil {
		return m.field("tool_calls")
	}
	return nil
}

func (c *converse) toolCall(v gjson.Result) *mistake {
	function := v.Get("function")
	switch kind := v.Get("type"); {
	case !v.IsObject():
		return is(mustBeObject)
	case kind.Type != gjson.Null && kind.Str != "function":
		return is(onlyFunctions).field("type")
	case !function.IsObject():
		return is(mustBeObject).field("function")
	}
	if m := only(v, "id", "type", "function", "index"); m != nil {
		return m
	}
	if m := only(function, "name", "arguments"); m != nil {
		return m.field("function")
	}
	m := c.turns.call("id", v.Get("id"), function.Get("name"), function.Get("arguments"))
	if m != nil && m.where != ".id" {
		m = m.field("function")
	}
	return m
}

// result reads what a tool gave back.
func (c *converse) result(msg *message) *mistake {
	if m := filled(msg.toolCallID); m != nil {
		return m.field("tool_call_id")
	}
	if msg.content.Type != gjson.String && !msg.content.IsArray() {
		return is(mustBeContent).field("content")
	}
	if m := c.turns.beginResult(msg.toolCallID); m != nil {
		return m.field("tool_call_id")
	}
	m := c.resultContent(msg.content)
	c.turns.endResult()
	return inContent(m)
}

func inContent(m *mistake) *mistake {
	if m != nil {
		return m.field("content")
	}
	return nil
}
