package demo

import (
	"strings"

	"github.com/tidwall/gjson"
)

// contentText is the text of a message: a string, or the text parts of a list, with
// other parts named by their type.
func contentText(content gjson.Result, param string) (string, error) {
	if content.Type == gjson.String {
		return content.Str, nil
	}
	if !content.IsArray() {
		return "", invalid(param, "The content of a message must be a string or a list of parts.")
	}
	var parts []string
	var err error
	content.ForEach(func(_, part gjson.Result) bool {
		kind, text := part.Get("type"), part.Get("text")
		switch {
		case !part.IsObject() || kind.Type != gjson.String:
			err = invalid(param, "Each part of a message's content must be an object with a 'type'.")
		case text.Type == gjson.String:
			parts = append(parts, text.Str)
		case kind.Str == "text" || kind.Str == "input_text":
			err = invalid(param, "A text part of a message's content must have a 'text'.")
		default:
			parts = append(parts, "["+shorten(kind.Str)+"]")
		}
		return err == nil
	})
	return strings.Join(parts, " "), err
}

// readFormat understands response_format (the schema lies under wrapper) and the
// text.format of responses (no wrapper).
func readFormat(value gjson.Result, param, wrapper string) (format, error) {
	if missing(value) {
		return format{}, nil
	}
	switch value.Get("type").Str {
	case "text":
		return format{}, nil
	case "json_object":
		return format{json: true}, nil
	case "json_schema":
		schema := value.Get(wrapper + "schema")
		if !schema.IsObject() {
			return format{}, invalid(param, "A '%s' of type json_schema must have a 'schema' that is an object.", param)
		}
		return format{json: true, schema: schema}, checkSchema(schema, param)
	}
	return format{}, invalid(param+".type", "The type of '%s' must be text, json_object or json_schema.", param)
}
