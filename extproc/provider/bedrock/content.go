package bedrock

import "github.com/tidwall/gjson"

const (
	mustBeContent = "must be a string or a list of parts"
	onlyFunctions = "must be function: Amazon Bedrock has no other tools of the client"
	textOrImage   = "must be text or image_url: parts of another kind cannot be told to this model"
	onlyText      = "must be text in a message of this role"
)

// textPart is the text of a part of the kind that has it in the member named.
func textPart(part gjson.Result, kind, member string) (text gjson.Result, m *mistake) {
	text = part.Get(member)
	switch {
	case !part.IsObject():
		return text, is(mustBeObject)
	case part.Get("type").Str != kind:
		return text, is(onlyText).field("type")
	case text.Type != gjson.String:
		return text, is(mustBeString).field(member)
	}
	return text, only(part, "type", member)
}

func (c *converse) userPart(part gjson.Result) *mistake {
	if !part.IsObject() {
		return is(mustBeObject)
	}
	switch part.Get("type").Str {
	case "text":
		text, m := textPart(part, "text", "text")
		if m == nil {
			c.turns.text(user, text)
		}
		return m
	case "image_url":
		return c.imagePart(part, func() { c.turns.block(user) })
	}
	return is(textOrImage).field("type")
}

func (c *converse) assistantPart(part gjson.Result) *mistake {
	member := "text"
	if part.IsObject() && part.Get("type").Str == "refusal" {
		member = "refusal"
	}
	text, m := textPart(part, member, member)
	if m == nil {
		c.turns.text(assistant, text)
	}
	return m
}

// resultContent adds what a tool gave back: a text, or parts.
func (c *converse) resultContent(content gjson.Result) *mistake {
	if content.Type == gjson.String {
		c.turns.resultText(content)
		return nil
	}
	return each(content, func(_ int, part gjson.Result) *mistake {
		if part.IsObject() && part.Get("type").Str == "image_url" {
			if !c.model.has(canSeeResults) {
				return is(onlyText).field("type")
			}
			return c.imagePart(part, c.turns.resultBlock)
		}
		text, m := textPart(part, "text", "text")
		if m == nil {
			c.turns.resultText(text)
		}
		return m
	})
}

// imagePart adds a part of the kind image_url. How closely to look ("detail") is
// nothing that these models are told: they have one way to look.
func (c *converse) imagePart(part gjson.Result, begin func()) *mistake {
	image, m := alone(part, "image_url", "type")
	if m != nil {
		return m
	}
	if !image.IsObject() {
		return is(mustBeObject).field("image_url")
	}
	url, m := alone(image, "url", "detail")
	if m == nil {
		m = c.image(url, begin)
	}
	if m != nil {
		return m.field("image_url")
	}
	return nil
}

// thoughts adds the reasoning of an earlier turn, which Claude wants back with its
// signature while a tool is in use. Its form is that of Anthropic's API, which other
// gateways add to messages of the assistant under this name, too: objects of type
// thinking, with thinking and signature, or redacted_thinking, with data.
func (c *converse) thoughts(list gjson.Result) *mistake {
	if list.Type == gjson.Null {
		return nil
	}
	if !list.IsArray() {
		return is("must be a list")
	}
	return each(list, func(_ int, v gjson.Result) *mistake { return c.thought(v) })
}

func (c *converse) thought(v gjson.Result) *mistake {
	if !v.IsObject() {
		return is(mustBeObject)
	}
	if !c.model.has(canThink) {
		return nil // of another model: nothing that this one could read
	}
	text, signature, data := v.Get("thinking"), v.Get("signature"), v.Get("data")
	switch v.Get("type").Str {
	case "thinking":
		if text.Type != gjson.String {
			return is(mustBeString).field("thinking")
		}
		if m := filled(signature); m != nil {
			return m.field("signature")
		}
		c.addThought(text, signature)
		return only(v, "type", "thinking", "signature")
	case "redacted_thinking":
		if data.Type != gjson.String || !isBase64(data.Str) {
			return is("must be a string in base64").field("data")
		}
		c.addRedacted(data)
		return only(v, "type", "data")
	}
	return is("must be thinking or redacted_thinking").field("type")
}

func (c *converse) addThought(text, signature gjson.Result) {
	c.beginThought()
	c.turns.out = append(c.turns.out, `{"reasoningContent":{"reasoningText":{"text":`...)
	c.turns.raw(text.Raw)
	c.turns.out = append(c.turns.out, `,"signature":`...)
	c.turns.raw(signature.Raw)
	c.turns.out = append(c.turns.out, "}}}"...)
}

func (c *converse) addRedacted(data gjson.Result) {
	c.beginThought()
	c.turns.out = append(c.turns.out, `{"reasoningContent":{"redactedContent":`...)
	c.turns.raw(data.Raw)
	c.turns.out = append(c.turns.out, "}}"...)
}

func (c *converse) beginThought() {
	opens := c.turns.last != assistant
	c.turns.block(assistant)
	c.turns.reasoned = c.turns.reasoned || opens
}
