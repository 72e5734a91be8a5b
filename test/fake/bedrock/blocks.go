package bedrock

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

const (
	maxImage  = 5 << 20 // bytes, decoded
	maxImages = 20      // in one request
)

// contents are the blocks of all messages.
func contents(r *Request, m model) *Exception {
	images := 0
	for i, message := range r.JSON("messages").Array() {
		for j, block := range message.Get("content").Array() {
			at := fmt.Sprintf("messages.%d.content.%d", i, j)
			if fault := content(r, m, message.Get("role").String(), block, at); fault != nil {
				return fault
			}
			images += len(imagesOf(block))
		}
	}
	if images > maxImages {
		return Validation.With("Too many images and documents: %d > %d", images, maxImages)
	}
	return nil
}

// owners are the roles that alone may have blocks of a kind.
var owners = map[string]string{
	"image": "user", "document": "user", "toolResult": "user", "toolUse": "assistant", "reasoningContent": "assistant",
}

func content(r *Request, m model, role string, block gjson.Result, at string) *Exception {
	kind := ""
	block.ForEach(func(key, _ gjson.Result) bool { kind = key.String(); return false })
	value := block.Get(kind)
	if owner, one := owners[kind]; one && owner != role {
		return Validation.With("The %s block at %s is not one of the role %s.", kind, at, role)
	}
	switch kind {
	case "text":
		if strings.TrimSpace(value.String()) == "" {
			return blank("ContentBlock", at)
		}
	case "image":
		return image(value, m, at+".image")
	case "document", "guardContent": // shape has seen them
	case "toolUse", "toolResult":
		if !r.JSON("toolConfig").Exists() {
			return Validation.With("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
		}
		return toolBlock(kind, value, m, at+"."+kind)
	case "cachePoint":
		if !m.cache {
			return noCache()
		}
	case "reasoningContent":
		if !m.reasoning {
			return unsupported("reasoningContent")
		}
	default:
		return Validation.With("This model doesn't support the %s content block that you provided at %s.", kind, at)
	}
	return nil
}

// signatures are how the bytes of each format begin.
var signatures = map[string][]byte{
	"png": []byte("\x89PNG\r\n\x1a\n"), "jpeg": {0xff, 0xd8, 0xff}, "gif": []byte("GIF8"), "webp": []byte("RIFF"),
}

func image(value gjson.Result, m model, at string) *Exception {
	format := value.Get("format").String()
	begin, known := signatures[format]
	data, _ := base64.StdEncoding.DecodeString(value.Get("source.bytes").String()) // shape has seen it
	switch {
	case !m.vision:
		return Validation.With("This model doesn't support the image content block that you provided. Try again without it.")
	case !known:
		return constraint(at+".format", format, "Member must satisfy enum value set: [png, jpeg, gif, webp]")
	case len(data) == 0:
		return Validation.With("The image source at %s is empty.", at)
	case len(data) > maxImage:
		return Validation.With("%s.source.bytes: image exceeds 5 MB maximum: %d bytes > %d bytes", at, len(data), maxImage)
	case !bytes.HasPrefix(data, begin):
		return Validation.With("%s.source.bytes: Image does not match the provided media type image/%s", at, format)
	}
	return nil
}

func toolBlock(kind string, value gjson.Result, m model, at string) *Exception {
	if id := value.Get("toolUseId").String(); !toolNames.MatchString(id) {
		return constraint(at+".toolUseId", id, "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+")
	}
	if kind == "toolUse" {
		return toolUse(value, at)
	}
	return toolResult(value, m, at)
}

func toolUse(value gjson.Result, at string) *Exception {
	switch name := value.Get("name").String(); {
	case !toolNames.MatchString(name):
		return constraint(at+".name", name, "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+")
	case !value.Get("input").IsObject():
		return Validation.With("The format of the value at %s.input is invalid. Provide a json object for the field and try again.", at)
	}
	return nil
}

func toolResult(value gjson.Result, m model, at string) *Exception {
	switch status := value.Get("status"); {
	case status.Exists() && !m.status:
		return unsupported("status")
	case status.Exists() && !slices.Contains([]string{"success", "error"}, status.String()):
		return constraint(at+".status", status.String(), "Member must satisfy enum value set: [success, error]")
	case !value.Get("content").Exists():
		return Validation.With("The content field at %s is missing.", at)
	}
	for i, part := range value.Get("content").Array() {
		at := fmt.Sprintf("%s.content.%d", at, i)
		switch {
		case part.Get("text").Exists() && strings.TrimSpace(part.Get("text").String()) == "":
			return blank("ToolResultContentBlock", at)
		case part.Get("json").Exists() && !part.Get("json").IsObject():
			return Validation.With("The format of the value at %s.json is invalid. Provide a json object for the field and try again.", at)
		case part.Get("image").Exists():
			if fault := image(part.Get("image"), m, at+".image"); fault != nil {
				return fault
			}
		}
	}
	return nil
}

// pairs sees that the calls of each turn are answered in the next, each once.
func pairs(r *Request, _ model) *Exception {
	var open []string
	messages := r.JSON("messages").Array()
	for i, message := range messages {
		results := ids(message, "toolResult")
		if len(results) > 0 && !leading(message, "toolResult", len(results)) {
			return Validation.With("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %s.", i-1, strings.Join(open, ", "))
		}
		if len(results) > len(open) {
			return Validation.With("The number of toolResult blocks at messages.%d.content exceeds the number of toolUse blocks of previous turn.", i)
		}
		if missing := without(open, results); len(missing) > 0 {
			return Validation.With("Expected toolResult blocks at messages.%d.content for the following Ids: %s", i, strings.Join(missing, ", "))
		}
		open = ids(message, "toolUse")
		if twice := slices.Compact(slices.Sorted(slices.Values(open))); len(twice) != len(open) {
			return Validation.With("The toolUse blocks at messages.%d.content contain duplicate Ids.", i)
		}
	}
	if len(open) > 0 { // a prefilled call is nobody's to answer
		return Validation.With("Expected toolResult blocks at messages.%d.content for the following Ids: %s", len(messages), strings.Join(open, ", "))
	}
	return nil
}

// leading says that the first n blocks of a message are of a kind: what a user says
// stands behind the results of tools.
func leading(message gjson.Result, kind string, n int) bool {
	for _, block := range message.Get("content").Array()[:n] {
		if !block.Get(kind).Exists() {
			return false
		}
	}
	return true
}

func ids(message gjson.Result, kind string) []string {
	var found []string
	for _, block := range message.Get("content").Array() {
		if id := block.Get(kind + ".toolUseId"); id.Exists() {
			found = append(found, id.String())
		}
	}
	return found
}

func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(id string) bool { return slices.Contains(some, id) })
}
