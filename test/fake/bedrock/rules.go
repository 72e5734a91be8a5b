package bedrock

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// conversation is why a family does not take a request; nil if it does.
func conversation(r *Request, m model) *Exception {
	if !m.chat {
		return Validation.With("This action doesn't support the model that you provided. Try again with a supported text or chat model.")
	}
	for _, rule := range []func(*Request, model) *Exception{shape, system, inference, turns, toolConfig, contents, pairs} {
		if fault := rule(r, m); fault != nil {
			return fault
		}
	}
	return nil
}

func unsupported(field string) *Exception {
	return Validation.With("This model doesn't support the %s field. Remove %s and try again.", field, field)
}

func constraint(at, value, rule string) *Exception {
	return Validation.With("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: %s", value, at, rule)
}

func system(r *Request, m model) *Exception {
	if blocks := r.JSON("system").Array(); len(blocks) > 0 && !m.system {
		return unsupported("system")
	}
	for i, block := range r.JSON("system").Array() {
		at := fmt.Sprintf("system.%d", i)
		if text := block.Get("text"); text.Exists() && strings.TrimSpace(text.String()) == "" {
			return blank("SystemContentBlock", at)
		}
		if block.Get("cachePoint").Exists() && !m.cache {
			return noCache()
		}
	}
	return nil
}

func noCache() *Exception {
	return AccessDenied.With("You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more information.")
}

func blank(kind, at string) *Exception {
	return Validation.With("The text field in the %s object at %s is blank. Add text to the text field, and try again.", kind, at)
}

// titanStops is all that Titan stops at.
var titanStops = regexp.MustCompile(`^(\|+|User:)$`)

func inference(r *Request, m model) *Exception {
	for _, name := range []string{"temperature", "topP"} {
		at := "inferenceConfig." + name
		switch value := r.JSON(at); {
		case value.Exists() && value.Num < 0:
			return constraint(at, value.Raw, "Member must have value greater than or equal to 0")
		case value.Num > 1:
			return constraint(at, value.Raw, "Member must have value less than or equal to 1")
		}
	}
	if value := r.JSON("inferenceConfig.maxTokens"); value.Exists() && value.Num < 1 {
		return constraint("inferenceConfig.maxTokens", value.Raw, "Member must have value greater than or equal to 1")
	}
	return stopSequences(r.JSON("inferenceConfig.stopSequences").Array(), m)
}

func stopSequences(stops []gjson.Result, m model) *Exception {
	switch {
	case len(stops) > 0 && m.stops == 0:
		return unsupported("stopSequences")
	case len(stops) > m.stops:
		return Validation.With("Malformed input request: #/stopSequences: expected maximum item count: %d, found: %d, please reformat your input and try again.", m.stops, len(stops))
	}
	for _, stop := range stops {
		switch {
		case stop.String() == "":
			return constraint("inferenceConfig.stopSequences", "", "Member must have length greater than or equal to 1")
		case strings.HasPrefix(m.prefix, "anthropic.") && strings.TrimSpace(stop.String()) == "":
			return Validation.With("stop_sequences: each stop sequence must contain non-whitespace")
		case m.prefix == "amazon.titan-text" && !titanStops.MatchString(stop.String()):
			return Validation.With("Malformed input request: string [%s] does not match pattern ^(\\|+|User:)$, please reformat your input and try again.", stop)
		}
	}
	return nil
}

// turns are the order and the roles of the messages.
func turns(r *Request, m model) *Exception {
	messages := r.JSON("messages").Array()
	if len(messages) == 0 || messages[0].Get("role").String() != "user" {
		return Validation.With("A conversation must start with a user message. Try again with a conversation that starts with a user message.")
	}
	for i, message := range messages {
		role := message.Get("role").String()
		switch {
		case !slices.Contains([]string{"user", "assistant"}, role):
			return constraint(fmt.Sprintf("messages.%d.role", i), role, "Member must satisfy enum value set: [user, assistant]")
		case i > 0 && role == messages[i-1].Get("role").String():
			return Validation.With("A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again.")
		case len(message.Get("content").Array()) == 0:
			return Validation.With("The content field in the Message object at messages.%d is empty. Add a ContentBlock object to the content field and try again.", i)
		}
	}
	if messages[len(messages)-1].Get("role").String() == "assistant" && !m.prefill {
		return Validation.With("A conversation must end with a user message. Try again with a conversation that ends with a user message.")
	}
	return nil
}

// toolNames is what names and ids of tools may be made of.
var toolNames = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

func toolConfig(r *Request, m model) *Exception {
	config := r.JSON("toolConfig")
	if !config.Exists() {
		return nil
	}
	tools := config.Get("tools").Array()
	switch {
	case !m.tools:
		return Validation.With("This model doesn't support tool use.")
	case r.Operation == "converse-stream" && !m.streamTools:
		return Validation.With("This model doesn't support tool use in streaming mode.")
	case len(tools) == 0:
		return constraint("toolConfig.tools", "[]", "Member must have length greater than or equal to 1")
	}
	var names []string
	for i, tool := range tools {
		at := fmt.Sprintf("toolConfig.tools.%d", i)
		if tool.Get("cachePoint").Exists() {
			if !m.cache {
				return noCache()
			}
			continue
		}
		name := tool.Get("toolSpec.name").String()
		if fault := toolSpec(tool, name, at+".toolSpec"); fault != nil {
			return fault
		}
		if slices.Contains(names, name) {
			return Validation.With("The tool name %s is there twice at %s.", name, at)
		}
		names = append(names, name)
	}
	return toolChoice(config.Get("toolChoice"), m, names)
}

func toolSpec(tool gjson.Result, name, at string) *Exception {
	schema := tool.Get("toolSpec.inputSchema.json")
	switch {
	case !toolNames.MatchString(name):
		return constraint(at+".name", name, "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+")
	case tool.Get("toolSpec.description").Exists() && tool.Get("toolSpec.description").String() == "":
		return constraint(at+".description", "", "Member must have length greater than or equal to 1")
	case !schema.IsObject():
		return Validation.With("The format of the value at %s.inputSchema.json is invalid. Provide a json object for the field and try again.", at)
	case schema.Get("type").String() != "object":
		return Validation.With("The value at %s.inputSchema.json.type must be one of the following: object.", at)
	}
	return nil
}

func toolChoice(choice gjson.Result, m model, names []string) *Exception {
	for _, kind := range []string{"any", "tool"} {
		if choice.Get(kind).Exists() && !m.choice {
			return unsupported("toolConfig.toolChoice." + kind)
		}
	}
	if tool := choice.Get("tool"); tool.Exists() && !slices.Contains(names, tool.Get("name").String()) {
		return Validation.With("The tool %s of toolConfig.toolChoice.tool is not one of toolConfig.tools.", tool.Get("name"))
	}
	return nil
}
