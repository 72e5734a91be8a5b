package strict

import (
	"bytes"
	"strconv"
)

// toolForm is how an endpoint writes a tool.
type toolForm struct {
	nested bool // chat: the name is in a member that is called as the type
	closed bool // no other types than these
}

var (
	chatForm     = toolForm{nested: true, closed: true}
	responseForm = toolForm{} // hosted tools have types of their own, more every year
)

// judgeTools judges the tools of a request, and the choice among them.
func judgeTools(top object, form toolForm) *mistake {
	var known [][]byte // the tools' names
	if list := top.get("tools"); list != nil {
		var m *mistake
		if known, m = form.tools(list); m != nil {
			return m.field("tools")
		}
	}
	if choice := top.get("tool_choice"); choice != nil {
		if m := form.choice(choice, known); m != nil {
			return m.field("tool_choice")
		}
	}
	return nil
}

// tools judges a list of tools and gives their names.
func (form toolForm) tools(list value) (known [][]byte, m *mistake) {
	if list.kind() != '[' {
		return nil, is("must be a list")
	}
	for w := list.each(); w.next(); {
		if w.index == maxTools {
			return nil, is("must have at most " + strconv.Itoa(maxTools) + " tools")
		}
		called, m := form.tool(w.value)
		if m != nil {
			return nil, m.item(w.index)
		}
		if called == nil {
			continue // a hosted tool
		}
		if contains(known, called) {
			return nil, form.under(w.value.get("type"), is("stands twice among the tools").field("name")).item(w.index)
		}
		known = append(known, called)
	}
	return known, nil
}

// tool judges one tool, or one choice of a tool, and gives its name.
func (form toolForm) tool(v value) (called []byte, m *mistake) {
	if m := dictionary(v); m != nil {
		return nil, m
	}
	kind := v.get("type")
	switch {
	case kind == nil:
		return nil, missing("type")
	case !kind.is("function") && !kind.is("custom"):
		if form.closed {
			return nil, callType(kind).field("type")
		}
		if m := filled(kind); m != nil {
			return nil, m.field("type")
		}
		return nil, nil
	}
	inner := v
	if form.nested {
		field := string(kind.inner())
		if m := member(v, field, dictionary); m != nil {
			return nil, m
		}
		inner = v.get(field)
	}
	m = member(inner, "name", name)
	if m == nil {
		m = parameters(inner)
	}
	if m != nil {
		return nil, form.under(kind, m)
	}
	return inner.get("name").inner(), nil
}

// parameters judges what a function says of its arguments: a JSON Schema, which is
// the model's and the caller's business beyond that.
func parameters(function value) *mistake {
	if schema := function.get("parameters"); schema != nil && schema.kind() != '{' {
		return is("must be an object").field("parameters")
	}
	return nil
}

// under is where the members of a tool stand.
func (form toolForm) under(kind value, m *mistake) *mistake {
	if form.nested {
		m = m.field(string(kind.inner()))
	}
	return m
}

var choiceWord = oneOf("none", "auto", "required")

func (form toolForm) choice(v value, known [][]byte) *mistake {
	switch v.kind() {
	case '"':
		return choiceWord(v)
	case '{':
	default:
		return is("must be a string or an object")
	}
	if kind := v.get("type"); kind != nil && kind.is("allowed_tools") {
		return nil // a list of choices; the provider takes those that it knows
	}
	called, m := form.tool(v)
	if m != nil {
		return m
	}
	if called != nil && !contains(known, called) {
		return form.under(v.get("type"), is("must be the name of a tool of this request").field("name"))
	}
	return nil
}

func contains(all [][]byte, one []byte) bool {
	for _, other := range all {
		if bytes.Equal(other, one) {
			return true
		}
	}
	return false
}
