package strict

import "strconv"

// judgeMessages judges a conversation, in one pass.
func judgeMessages(list value) *mistake {
	const few = "must be a list of 1 to "
	if list.kind() != '[' {
		return is(few + strconv.Itoa(maxMessages) + " messages")
	}
	var open calls
	count := 0
	for w := list.each(); w.next(); count++ {
		if w.index == maxMessages {
			return is(few + strconv.Itoa(maxMessages) + " messages")
		}
		if w.value.kind() != '{' {
			return is("must be an object").item(w.index)
		}
		msg := readMessage(w.value)
		if m := msg.judge(); m != nil {
			return m.item(w.index)
		}
		if m := open.follow(w.index, &msg); m != nil {
			return m
		}
	}
	if count == 0 {
		return is(few + strconv.Itoa(maxMessages) + " messages")
	}
	if m := open.unanswered(); m != nil {
		return m
	}
	return clean(list)
}

// message is what the rules need of one; what is null counts as absent.
type message struct {
	kind role

	role, content, name, toolCallID, toolCalls, functionCall, refusal, audio value
}

// role is who speaks.
type role uint8

const (
	nobody role = iota
	system      // or developer, which is the same under another name
	user
	assistant
	tool
	function
)

func readMessage(v value) message {
	var msg message
	for w := v.each(); w.next(); {
		switch string(w.name.inner()) {
		case "role":
			msg.role = w.value
		case "content":
			msg.content = w.value.orAbsent()
		case "name":
			msg.name = w.value.orAbsent()
		case "tool_call_id":
			msg.toolCallID = w.value.orAbsent()
		case "tool_calls":
			msg.toolCalls = w.value.orAbsent()
		case "function_call":
			msg.functionCall = w.value.orAbsent()
		case "refusal":
			msg.refusal = w.value.orAbsent()
		case "audio":
			msg.audio = w.value.orAbsent()
		}
	}
	msg.kind = roleOf(msg.role)
	return msg
}

func roleOf(v value) role {
	if v.kind() != '"' {
		return nobody
	}
	switch string(v.inner()) {
	case "system", "developer":
		return system
	case "user":
		return user
	case "assistant":
		return assistant
	case "tool":
		return tool
	case "function":
		return function
	}
	return nobody
}

// judge judges a message by itself.
func (msg *message) judge() *mistake {
	if msg.role == nil {
		return missing("role")
	}
	if msg.kind == nobody {
		return is("must be one of developer, system, user, assistant, tool, function").field("role")
	}
	if m := msg.judgeContent(); m != nil {
		return m.field("content")
	}
	switch {
	case msg.kind == function:
		return msg.judgeFunction()
	case msg.kind == assistant:
		if m := msg.judgeAssistant(); m != nil {
			return m
		}
	case msg.toolCalls != nil:
		return is("is for messages of the assistant").field("tool_calls")
	}
	return msg.judgeName()
}

// judgeName judges who of several speakers of a role speaks.
func (msg *message) judgeName() *mistake {
	if msg.name == nil {
		return nil
	}
	if m := filled(msg.name); m != nil {
		return m.field("name")
	}
	if len(msg.name)-2 > maxID {
		return is("must have at most " + strconv.Itoa(maxID) + " bytes").field("name")
	}
	return nil
}

func (msg *message) judgeFunction() *mistake {
	if msg.name == nil {
		return missing("name")
	}
	if m := name(msg.name); m != nil {
		return m.field("name")
	}
	return nil
}

// judgeAssistant judges what only the assistant says.
func (msg *message) judgeAssistant() *mistake {
	if msg.refusal != nil {
		if m := partText(msg.refusal); m != nil {
			return m.field("refusal")
		}
	}
	if msg.audio != nil {
		if m := dictionary(msg.audio); m != nil {
			return m.field("audio")
		}
		if m := member(msg.audio, "id", filled); m != nil {
			return m.field("audio")
		}
	}
	if msg.functionCall != nil {
		if m := judgeCalled(msg.functionCall, "arguments"); m != nil {
			return m.field("function_call")
		}
	}
	if msg.toolCalls != nil {
		if m := judgeCalls(msg.toolCalls); m != nil {
			return m.field("tool_calls")
		}
	}
	return nil
}
