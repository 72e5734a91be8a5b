package demo

import (
	"github.com/tidwall/gjson"
)

// tool is a function the client offers; without a name it is none.
type tool struct {
	name       string
	parameters gjson.Result // a JSON schema; may be absent
}

// arguments is what the model calls the tool with, as JSON text.
func (t tool) arguments(user string) string {
	if !t.parameters.IsObject() {
		return "{}"
	}
	text := fill(t.parameters, user)
	if !gjson.Parse(text).IsObject() { // a schema of something else: arguments are an object
		return "{}"
	}
	return text
}

// toolForm is how one endpoint writes tools: chat/completions wraps a function in
// one more object, responses does not.
type toolForm struct{ wrapper string }

var (
	chatTools      = toolForm{wrapper: "function."}
	responsesTools = toolForm{}
)

// choose is the tool to call: the one that tool_choice names, else the first; none
// if there is none or none is wanted. Tools that are not functions are passed over.
func (form toolForm) choose(body gjson.Result) (tool, error) {
	offered, err := form.offered(body.Get("tools"))
	if err != nil {
		return tool{}, err
	}
	choice := body.Get("tool_choice")
	switch {
	case missing(choice):
	case choice.Type == gjson.String:
		switch choice.Str {
		case "none":
			return tool{}, nil
		case "auto", "required":
		default:
			return tool{}, invalid("tool_choice", "The field 'tool_choice' must be none, auto, required or name a tool.")
		}
	case choice.IsObject():
		if choice.Get("type").Str == "function" {
			return named(offered, choice.Get(form.wrapper+"name").Str)
		}
	default:
		return tool{}, invalid("tool_choice", "The field 'tool_choice' must be a string or an object.")
	}
	if len(offered) == 0 {
		return tool{}, nil
	}
	return offered[0], nil
}

func named(offered []tool, name string) (tool, error) {
	for _, one := range offered {
		if one.name == name {
			return one, nil
		}
	}
	return tool{}, invalid("tool_choice", "The field 'tool_choice' names a tool that is not in 'tools'.")
}

func (form toolForm) offered(list gjson.Result) ([]tool, error) {
	if missing(list) {
		return nil, nil
	}
	if !list.IsArray() {
		return nil, invalid("tools", "The field 'tools' must be a list.")
	}
	var tools []tool
	var err error
	list.ForEach(func(_, entry gjson.Result) bool {
		if entry.Get("type").Str != "function" {
			if entry.Get("type").Str == "" {
				err = invalid("tools", "Each entry of 'tools' must be an object with a 'type'.")
			}
			return err == nil
		}
		name := entry.Get(form.wrapper + "name")
		if name.Type != gjson.String || name.Str == "" {
			err = invalid("tools", "Each function of 'tools' must have a 'name'.")
			return false
		}
		parameters := entry.Get(form.wrapper + "parameters")
		tools = append(tools, tool{name: name.Str, parameters: parameters})
		err = checkSchema(parameters, "tools")
		return err == nil
	})
	return tools, err
}
