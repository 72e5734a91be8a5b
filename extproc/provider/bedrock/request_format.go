package bedrock

import (
	"strconv"

	"github.com/tidwall/gjson"
)

// readFormat reads how the answer is to be written: format has the type, schema the
// name, the description, the schema and strict of a json_schema. JSON is had by a tool
// that the model is made to call, and whose input is the answer.
func (c *converse) readFormat(format, schema gjson.Result) *mistake {
	if format.Type == gjson.Null {
		return nil
	}
	if !format.IsObject() {
		return is(mustBeObject)
	}
	switch format.Get("type").Str {
	case "text":
		return nil
	case "json_object", "json_schema":
	default:
		return is("must be text, json_object or json_schema").field("type")
	}
	switch {
	case !c.model.has(canJSON):
		return is("must be text with this model: it cannot be held to JSON").field("type")
	case len(c.tools) > 0:
		return is(`must be text beside "tools": JSON is had from this model by a tool of its own`).field("type")
	}
	if m := c.onlyFormat(format); m != nil {
		return m
	}
	c.asked.JSON = true
	if format.Get("type").Str == "json_object" {
		c.answerBy("answer", `"Gives the answer, as JSON."`, `{"type":"object"}`, false)
		return nil
	}
	return c.readSchema(schema)
}

// onlyFormat refuses what a format has no member for.
func (c *converse) onlyFormat(format gjson.Result) *mistake {
	if c.asked.Form != Chat {
		return only(format, "type", "name", "description", "schema", "strict")
	}
	if m := only(format.Get("json_schema"), "name", "description", "schema", "strict"); m != nil {
		return m.field("json_schema")
	}
	return only(format, "type", "json_schema")
}

func (c *converse) readSchema(v gjson.Result) *mistake {
	in := func(m *mistake) *mistake {
		if c.asked.Form == Chat {
			return m.field("json_schema")
		}
		return m
	}
	name, description, schema := v.Get("name"), v.Get("description"), v.Get("schema")
	strict, m := strictness(v.Get("strict"))
	switch {
	case !v.IsObject():
		return in(is(mustBeObject))
	case m != nil:
		return in(m)
	case !isName(name):
		return in(is(mustBeName).field("name"))
	case description.Type != gjson.Null && description.Type != gjson.String:
		return in(is(mustBeString).field("description"))
	case schema.Type == gjson.Null:
		schema.Raw = `{"type":"object"}`
	case !schema.IsObject() || schema.Get("type").Str != "object":
		return in(is(`must be a JSON schema whose "type" is "object"`).field("schema"))
	}
	if blank(description) {
		description.Raw = `"Gives the answer, as JSON."`
	}
	c.answerBy(name.Str, description.Raw, schema.Raw, strict)
	return nil
}

// answerBy makes the model answer by a tool.
func (c *converse) answerBy(name, description, schema string, strict bool) {
	c.spec(name, description, schema, strict)
	c.choice = choice{"tool", name}
}

// budgets are how many tokens a Claude that takes a budget may reason for. 1024 is
// the least it takes.
var budgets = map[string]int64{"minimal": 1 << 10, "low": 2 << 10, "medium": 8 << 10, "high": 16 << 10, "xhigh": 32 << 10}

// efforts are the words of a Claude that takes an effort.
var efforts = map[string]string{"minimal": "low", "low": "low", "medium": "medium", "high": "high"}

// readEffort reads how much the model is to reason before it answers.
func (c *converse) readEffort(v gjson.Result) *mistake { //nolint:cyclop // one rule a case
	switch {
	case v.Type == gjson.Null || v.Str == "none":
		return nil
	case budgets[v.Str] == 0:
		return is("must be one of none, minimal, low, medium, high, xhigh")
	case !c.model.has(canThink):
		return is("must be none or left out with this model: how much it reasons cannot be said")
	case c.asked.JSON:
		return is(`must be none or left out with "` + c.at.format + `": this model does not reason when it is made to call a tool, by which JSON is had`)
	case c.choice.kind == "any" || c.choice.kind == "tool":
		return is(`must be none or left out with this "tool_choice": this model does not reason when it is made to call a tool`)
	}
	if c.turns.last == assistant {
		return is("must be none or left out where the assistant has spoken last: this model does not reason before it goes on")
	}
	c.thinking.on = true
	if c.model.has(canAdapt) {
		return c.adapt(v.Str)
	}
	c.thinking.budget = budgets[v.Str]
	switch budget := strconv.FormatInt(c.thinking.budget, 10); {
	case c.limit != 0 && c.limit <= c.thinking.budget:
		return is(`needs "` + c.at.limit + `" to be more than ` + budget + ": so many tokens are for reasoning alone, and count")
	case c.turns.last == user && c.turns.pending && !c.turns.reasoned:
		return is(`must be none or left out while a tool is in use, unless the model's reasoning is sent back: ` + c.at.thoughts)
	default:
		return c.think(`{"type":"enabled","budget_tokens":` + budget + "}")
	}
}

func (c *converse) adapt(effort string) *mistake {
	effort, known := efforts[effort]
	if !known {
		return is("must be one of none, minimal, low, medium, high for this model")
	}
	if c.passed("output_config") {
		return is(`cannot be used beside "output_config", which says the same`)
	}
	c.extra.add("output_config", `{"effort":"`+effort+`"}`)
	return c.think(`{"type":"adaptive"}`)
}

func (c *converse) think(how string) *mistake {
	if c.passed("thinking") {
		return is(`cannot be used beside "thinking", which says the same`)
	}
	c.extra.add("thinking", how)
	return nil
}

// passed says that the client has sent a field which the operator lets through.
func (r *request) passed(name string) bool {
	return r.get(name).Type != gjson.Null
}
