package bedrock

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// blockKind is what sort of content a part of an answer is.
type blockKind uint8

const (
	textBlock blockKind = iota + 1
	reasoningBlock
	callBlock
	sealedBlock // reasoning that only its provider can read
)

// answerPart is one block of a model's answer.
type answerPart struct {
	kind blockKind
	text []byte // what it says, or a call's arguments: escaped, without quotes
	id   string // of a call, as a JSON string
	name string // of a call, as a JSON string
	seal []byte // reasoning's signature, or what is sealed: escaped, without quotes
}

func (p answerPart) reasons() bool { return p.kind == reasoningBlock || p.kind == sealedBlock }

// turn is a whole answer of Converse's.
type turn struct {
	parts []answerPart
	end   ending
	odd   string
	usage *Usage
}

// readTurn reads a whole answer. Without a message or a stopReason it is none.
func readTurn(a Asked, doc gjson.Result) (*turn, *fault.Error) {
	content, reason := doc.Get("output.message.content"), doc.Get("stopReason")
	if !content.IsArray() {
		return nil, garbage("there is no output.message.content")
	}
	if reason.Type != gjson.String || reason.Str == "" {
		return nil, garbage("there is no stopReason")
	}
	t := &turn{usage: readUsage(doc.Get("usage"))}
	t.end, t.odd = endingOf(reason.Str)
	if t.end == malformed {
		return nil, malformedAnswer(reason.Str)
	}
	var failure *fault.Error
	content.ForEach(func(_, block gjson.Result) bool {
		failure = t.addBlock(block)
		return failure == nil
	})
	if failure != nil {
		return nil, failure
	}
	if a.JSON {
		t.unwrap()
	}
	if a.Form == Completions && t.called() {
		return nil, uncarriable("toolUse")
	}
	if a.Form == Completions {
		t.unseal()
	}
	return t, nil
}

// unseal leaves out what a completion cannot carry.
func (t *turn) unseal() {
	t.parts = slices.DeleteFunc(t.parts, func(p answerPart) bool {
		return p.kind == sealedBlock || p.kind == reasoningBlock && len(p.text) == 0
	})
}

func malformedAnswer(reason string) *fault.Error {
	err := garbage("the stopReason is " + reason)
	err.Message = msgMalformed
	return err
}

// addBlock reads one block of content. What is not told in OpenAI's form is left out
// where it is no part of what the model says (marks of a cache, where a citation comes
// from, and in completions what is sealed of reasoning), and is an error where it is.
func (t *turn) addBlock(block gjson.Result) *fault.Error {
	if !block.IsObject() {
		return garbage("a block of content is no object")
	}
	var failure *fault.Error
	block.ForEach(func(key, v gjson.Result) bool {
		switch key.String() {
		case "text":
			failure = t.addText(textBlock, v)
		case "toolUse":
			failure = t.addCall(v)
		case "reasoningContent":
			failure = t.addReasoning(v)
		case "citationsContent":
			v.Get("content").ForEach(func(_, said gjson.Result) bool {
				failure = t.addText(textBlock, said.Get("text"))
				return failure == nil
			})
		case "cachePoint":
		default:
			failure = uncarriable(key.String())
		}
		return failure == nil
	})
	return failure
}

func (t *turn) addText(kind blockKind, v gjson.Result) *fault.Error {
	said, ok := inner(v)
	if !ok {
		return garbage("a text is no string")
	}
	if said != "" {
		t.parts = append(t.parts, answerPart{kind: kind, text: []byte(said)})
	}
	return nil
}

// addReasoning reads reasoning. A signature without a text is kept: Claude wants it back
// even where it does not show what it thought.
func (t *turn) addReasoning(v gjson.Result) *fault.Error {
	if sealed, ok := inner(v.Get("redactedContent")); ok {
		t.parts = append(t.parts, answerPart{kind: sealedBlock, seal: []byte(sealed)})
		return nil
	}
	said, seal := v.Get("reasoningText.text"), v.Get("reasoningText.signature")
	text, ok := inner(said)
	signature, signed := inner(seal)
	if said.Exists() && !ok || seal.Exists() && seal.Type != gjson.Null && !signed {
		return garbage("a text is no string")
	}
	if text != "" || signature != "" {
		t.parts = append(t.parts, answerPart{kind: reasoningBlock, text: []byte(text), seal: []byte(signature)})
	}
	return nil
}

func (t *turn) addCall(v gjson.Result) *fault.Error {
	id, name, failure := readCall(v)
	if failure != nil {
		return failure
	}
	raw := ""
	switch input := v.Get("input"); input.Type {
	case gjson.Null:
	case gjson.String: // what the model wrote is no JSON: the client gets its words, as in a stream
		said, _ := inner(input)
		t.parts = append(t.parts, answerPart{kind: callBlock, id: id, name: name, text: []byte(cmp.Or(said, "{}"))})
		return nil
	default:
		raw = input.Raw
	}
	raw = cmp.Or(raw, "{}")
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(raw)); err != nil {
		return garbage("a tool's input is no JSON")
	}
	t.parts = append(t.parts, answerPart{kind: callBlock, id: id, name: name, text: appendEscaped(nil, compact.Bytes())})
	return nil
}

// readCall reads the id and the name of a call, as JSON strings.
func readCall(v gjson.Result) (id, name string, failure *fault.Error) {
	i, n := v.Get("toolUseId"), v.Get("name")
	if i.Type != gjson.String || i.Str == "" || n.Type != gjson.String || n.Str == "" {
		return "", "", garbage("a call has no toolUseId or no name")
	}
	// A tool that Bedrock runs itself is no call for the client, and was not asked for.
	if kind := v.Get("type"); kind.Exists() && kind.String() == "server_tool_use" {
		return "", "", uncarriable("server_tool_use")
	}
	return i.Raw, n.Raw, nil
}

// unwrap makes the input of the tool that stands for response_format the answer's
// text. What the model said around it is left out, because the client asked for JSON
// and nothing else; if it did not use the tool, what it said is all there is.
func (t *turn) unwrap() {
	kept, found := t.parts[:0:0], false
	for _, p := range t.parts {
		switch {
		case p.reasons():
			kept = append(kept, p)
		case p.kind == callBlock && !found:
			found = true
			kept = append(kept, answerPart{kind: textBlock, text: p.text})
		}
	}
	if found {
		t.parts = kept
	}
}

func (t *turn) called() bool { return t.has(callBlock) }

// has says that there is a call, or that something is said in a part of the kind.
func (t *turn) has(kind blockKind) bool {
	for _, p := range t.parts {
		if p.kind == kind && (kind == callBlock || len(p.text) > 0) {
			return true
		}
	}
	return false
}

// appendJoined adds all parts of a kind as one JSON string.
func (t *turn) appendJoined(to []byte, kind blockKind) []byte {
	to = append(to, '"')
	for _, p := range t.parts {
		if p.kind == kind {
			to = append(to, p.text...)
		}
	}
	return append(to, '"')
}
