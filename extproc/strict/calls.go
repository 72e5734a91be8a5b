package strict

import (
	"bytes"
	"strconv"
)

// calls are the tool calls that wait for their answers: those of the last message
// that made any. Every one is answered, once, before anybody else speaks.
type calls struct {
	ids      []value // each a string
	answered []bool
	left     int
	message  int // that made them
}

// follow holds the next message of a conversation against the calls before it.
func (c *calls) follow(i int, msg *message) *mistake {
	if msg.kind == tool {
		return c.answer(i, msg.toolCallID)
	}
	if m := c.unanswered(); m != nil {
		return m
	}
	c.ids, c.answered, c.left, c.message = c.ids[:0], c.answered[:0], 0, i
	if msg.kind != assistant || msg.toolCalls == nil {
		return nil
	}
	for w := msg.toolCalls.each(); w.next(); {
		id := w.value.get("id")
		if c.find(id) >= 0 {
			return is("stands twice in this message").field("id").item(w.index).field("tool_calls").item(i)
		}
		c.ids, c.answered = append(c.ids, id), append(c.answered, false)
		c.left++
	}
	return nil
}

func (c *calls) answer(i int, id value) *mistake {
	if id == nil {
		return missing("tool_call_id").item(i)
	}
	if m := identifier(id); m != nil {
		return m.field("tool_call_id").item(i)
	}
	at := c.find(id)
	switch {
	case at < 0:
		return is("must be the id of a tool call in the assistant's message right before").field("tool_call_id").item(i)
	case c.answered[at]:
		return is("answers a tool call that is answered already").field("tool_call_id").item(i)
	}
	c.answered[at] = true
	c.left--
	return nil
}

// unanswered names the first call that still waits.
func (c *calls) unanswered() *mistake {
	if c.left == 0 {
		return nil
	}
	at := 0
	for c.answered[at] {
		at++
	}
	return is("must be answered by a tool message right after this one").field("id").item(at).field("tool_calls").item(c.message)
}

func (c *calls) find(id value) int {
	for at, other := range c.ids {
		if same(id, other) {
			return at
		}
	}
	return -1
}

// same says that two strings say the same, however they are escaped.
func same(a, b value) bool {
	return bytes.Equal(a, b) || bytes.Equal(a.inner(), b.inner())
}

func identifier(v value) *mistake {
	if m := filled(v); m != nil {
		return m
	}
	if len(v)-2 > maxID {
		return is("must have at most " + strconv.Itoa(maxID) + " bytes")
	}
	return nil
}

var callType = oneOf("function", "custom")

// judgeCalls judges the calls of one message by themselves.
func judgeCalls(list value) *mistake {
	if list.kind() != '[' {
		return is("must be a list")
	}
	count := 0
	for w := list.each(); w.next(); count++ {
		if w.index == maxCalls {
			return is("must have at most " + strconv.Itoa(maxCalls) + " calls")
		}
		if m := judgeCall(w.value); m != nil {
			return m.item(w.index)
		}
	}
	if count == 0 {
		return is("must not be an empty list")
	}
	return nil
}

func judgeCall(v value) *mistake {
	if m := dictionary(v); m != nil {
		return m
	}
	if m := member(v, "id", identifier); m != nil {
		return m
	}
	if m := member(v, "type", callType); m != nil {
		return m
	}
	field, says := "function", "arguments"
	if v.get("type").is("custom") {
		field, says = "custom", "input"
	}
	called := v.get(field)
	if called == nil {
		return missing(field)
	}
	if m := judgeCalled(called, says); m != nil {
		return m.field(field)
	}
	return nil
}

// judgeCalled judges what is called, and with which words. They are the model's
// own, and need not be JSON: it may have written them badly.
func judgeCalled(v value, says string) *mistake {
	if m := dictionary(v); m != nil {
		return m
	}
	if m := member(v, "name", name); m != nil {
		return m
	}
	return member(v, says, partText)
}
