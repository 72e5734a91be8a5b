package bedrock

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// anyObject is the schema of a tool that comes without one.
const anyObject = `{"type":"object","properties":{}}`

// readTools reads tools, tool_choice and parallel_tool_calls. flat says that a
// function's members stand in the tool itself, as the Responses API has them.
func (c *converse) readTools(flat bool) *mistake {
	list := c.get("tools")
	if list.Type != gjson.Null && !list.IsArray() {
		return is("must be a list of tools").field("tools")
	}
	if m := each(list, func(_ int, v gjson.Result) *mistake { return c.readTool(v, flat) }); m != nil {
		return m.field("tools")
	}
	if m := c.readChoice(c.get("tool_choice"), flat); m != nil {
		return m.field("tool_choice")
	}
	if c.choice.kind == "none" {
		c.tools = nil // Converse has no such choice: a tool that is named may be called
	}
	if len(c.tools) > 0 {
		if m := c.allowTools(); m != nil {
			return m.field("tools")
		}
	}
	if m := c.allowChoice(); m != nil {
		return m.field("tool_choice")
	}
	return c.readParallel()
}

// readMute sees beforehand whether no tool may be called, by which the turns are written.
// JSON is had by a tool, so that there is one to be named; that one alone can be called.
func (c *converse) readMute(format gjson.Result) {
	tools, choice := c.get("tools"), c.get("tool_choice")
	none := tools.Type == gjson.Null || empty(tools) || choice.Type == gjson.String && choice.Str == "none"
	kind := format.Get("type").Str
	c.turns.inWords = none && kind != "json_object" && kind != "json_schema"
}

func (c *converse) allowTools() *mistake {
	switch {
	case !c.model.has(canTools):
		return is("cannot be used with this model: it calls no tools")
	case c.asked.Stream && !c.model.has(canStreamTools):
		return is(`cannot be used with this model in a stream: leave out "stream"`)
	}
	return nil
}

func (c *converse) readTool(v gjson.Result, flat bool) *mistake {
	if !v.IsObject() {
		return is(mustBeObject)
	}
	if v.Get("type").Str != "function" {
		return is(onlyFunctions).field("type")
	}
	if flat {
		if m := only(v, "type", "name", "description", "parameters", "strict"); m != nil {
			return m
		}
		return c.addTool(v)
	}
	if m := only(v, "type", "function"); m != nil {
		return m
	}
	function := v.Get("function")
	if !function.IsObject() {
		return is(mustBeObject).field("function")
	}
	m := only(function, "name", "description", "parameters", "strict")
	if m == nil {
		m = c.addTool(function)
	}
	if m != nil {
		return m.field("function")
	}
	return nil
}

// addTool adds a function as a toolSpec. Its schema travels as it stands.
func (c *converse) addTool(function gjson.Result) *mistake {
	name, description, schema := function.Get("name"), function.Get("description"), function.Get("parameters")
	strict, m := strictness(function.Get("strict"))
	switch {
	case m != nil:
		return m
	case !isName(name):
		return is(mustBeName).field("name")
	case description.Type != gjson.Null && description.Type != gjson.String:
		return is(mustBeString).field("description")
	case slices.Contains(c.names, name.Str):
		return is("must be a name that no other tool has").field("name")
	}
	raw, m := inputSchema(schema)
	if m != nil {
		return m.field("parameters")
	}
	if blank(description) {
		description.Raw = ""
	}
	c.names = append(c.names, name.Str)
	c.spec(name.Str, description.Raw, raw, strict)
	return nil
}

// inputSchema is a function's parameters as Converse takes them: it wants to read that
// they are an object, which they always are.
func inputSchema(v gjson.Result) (raw string, m *mistake) {
	if v.Type == gjson.Null || v.IsObject() && empty(v) {
		return anyObject, nil
	}
	if !v.IsObject() {
		return "", is("must be an object, a JSON schema")
	}
	switch kind := v.Get("type"); {
	case kind.Str == "object":
		return v.Raw, nil
	case kind.Exists():
		return "", is(`must be a JSON schema whose "type" is "object"`)
	}
	return `{"type":"object",` + strings.TrimLeft(v.Raw[1:], " \t\r\n"), nil
}

func strictness(v gjson.Result) (strict bool, m *mistake) {
	switch v.Type {
	case gjson.True, gjson.False, gjson.Null:
		return v.Type == gjson.True, nil
	default:
		return false, is(mustBeBoolean).field("strict")
	}
}

// spec writes a toolSpec; description and schema are JSON. strict, by which a
// provider holds the model to the schema, is a promise and no part of what the model
// reads: where Bedrock does not make it, the schema is given all the same.
func (c *converse) spec(name, description, schema string, strict bool) {
	if c.turns.dry && description != "" {
		description = `"-"`
	}
	if c.turns.dry {
		schema = anyObject
	}
	c.tools = slices.Grow(c.tools, len(name)+len(description)+len(schema)+80)
	if len(c.tools) > 0 {
		c.tools = append(c.tools, ',')
	}
	c.tools = append(c.tools, `{"toolSpec":{"name":"`...)
	c.tools = append(c.tools, name...)
	c.tools = append(c.tools, '"')
	if description != "" {
		c.tools = append(c.tools, `,"description":`...)
		c.tools = append(c.tools, description...)
	}
	c.tools = append(c.tools, `,"inputSchema":{"json":`...)
	c.tools = append(c.tools, schema...)
	c.tools = append(c.tools, '}')
	if strict && c.model.has(canStrict) {
		c.tools = append(c.tools, `,"strict":true`...)
	}
	c.tools = append(c.tools, "}}"...)
}

// choice is which tools the model is to call.
type choice struct {
	kind string // "auto", "none", "any", "tool"
	name string // of the tool
}

func (c *converse) readChoice(v gjson.Result, flat bool) *mistake {
	c.choice.kind = "auto"
	switch {
	case v.Type == gjson.Null || v.Type == gjson.String && v.Str == "auto":
	case v.Type == gjson.String && v.Str == "none":
		c.choice.kind = "none"
	case v.Type == gjson.String && v.Str == "required":
		c.choice.kind = "any"
	case v.IsObject():
		return c.readNamed(v, flat)
	default:
		return is("must be auto, none, required or a function's name in an object")
	}
	return nil
}

func (c *converse) readNamed(v gjson.Result, flat bool) *mistake {
	if v.Get("type").Str != "function" {
		return is("must be function: Amazon Bedrock has no choice of another kind").field("type")
	}
	name, m := v.Get("name"), only(v, "type", "name")
	if !flat {
		name, m = v.Get("function").Get("name"), only(v, "type", "function")
		if m == nil {
			if m = only(v.Get("function"), "name"); m != nil {
				m = m.field("function")
			}
		}
	}
	if m != nil {
		return m
	}
	if !slices.Contains(c.names, name.Str) {
		m := is("must be the name of one of the tools").field("name")
		if !flat {
			m = m.field("function")
		}
		return m
	}
	c.choice = choice{"tool", name.Str}
	return nil
}

func (c *converse) allowChoice() *mistake {
	switch {
	case c.choice.kind == "auto" || c.choice.kind == "none":
		return nil
	case len(c.tools) == 0:
		return is(`needs "tools"`)
	case !c.model.has(canForce):
		return is("must be auto or none: this model cannot be made to call a tool")
	}
	return nil
}

// readParallel reads parallel_tool_calls, which says nothing where there is no tool.
func (c *converse) readParallel() *mistake {
	switch v := c.get("parallel_tool_calls"); {
	case v.Type == gjson.Null || v.Type == gjson.True:
		return nil
	case v.Type != gjson.False:
		return is(mustBeBoolean).field("parallel_tool_calls")
	case len(c.tools) == 0 || c.choice.kind == "none":
		return nil
	case !c.model.has(canSerial):
		return is("must be true or left out: this model cannot be kept to one call at a time").field("parallel_tool_calls")
	}
	c.serial = true
	return nil
}

// writeTools adds toolConfig. To let the model choose is what Converse does anyway,
// and some models refuse to be told so.
func (c *converse) writeTools() {
	if len(c.tools) == 0 {
		return
	}
	c.turns.out = append(c.turns.out, `,"toolConfig":{"tools":[`...)
	c.turns.out = append(c.turns.out, c.tools...)
	c.turns.out = append(c.turns.out, ']')
	switch c.choice.kind {
	case "any":
		c.turns.out = append(c.turns.out, `,"toolChoice":{"any":{}}`...)
	case "tool":
		c.turns.out = append(c.turns.out, `,"toolChoice":{"tool":{"name":"`...)
		c.turns.out = append(c.turns.out, c.choice.name...)
		c.turns.out = append(c.turns.out, `"}}`...)
	}
	c.turns.out = append(c.turns.out, '}')
	if c.serial {
		c.writeSerial()
	}
}

// writeSerial keeps Claude to one call at a time, by a member of its own tool_choice.
// Bedrock adds what is in additionalModelRequestFields to what it makes of
// toolChoice, and refuses a type that stands in both; without toolChoice the type
// has to be there.
func (c *converse) writeSerial() {
	if c.choice.kind == "auto" {
		c.extra.add("tool_choice", `{"type":"auto","disable_parallel_tool_use":true}`)
		return
	}
	c.extra.add("tool_choice", `{"disable_parallel_tool_use":true}`)
}
