package bedrock

import (
	"slices"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// blockStart begins a call. Text and reasoning begin with their first delta: Bedrock
// sends no contentBlockStart for them.
func (s *Stream) blockStart(doc gjson.Result) *fault.Error {
	start := doc.Get("start")
	if what := firstKey(start); what == "" {
		return nil
	} else if what != "toolUse" {
		return uncarriable(what)
	}
	id, name, failure := readCall(start.Get("toolUse"))
	if failure != nil {
		return failure
	}
	source := doc.Get("contentBlockIndex").Int()
	if b := s.find(source); b != nil && b.id == id {
		return nil // the same one, said twice
	}
	if s.asked.JSON {
		return s.openWrapped(source, id)
	}
	if s.asked.Form == Completions {
		return uncarriable("toolUse")
	}
	b := streamBlock{answerPart: answerPart{kind: callBlock, id: id, name: name}, source: source, call: s.called}
	if failure := s.openBlock(b); failure != nil {
		return failure
	}
	s.called++
	return nil
}

// blockDelta says the next piece of a block. What is not told is the same as in a whole
// answer.
func (s *Stream) blockDelta(doc gjson.Result) *fault.Error {
	delta, source := doc.Get("delta"), doc.Get("contentBlockIndex").Int()
	if !delta.IsObject() {
		return garbage("contentBlockDelta has no delta")
	}
	switch what := firstKey(delta); what {
	case "", "citation":
		return nil
	case "text":
		if s.asked.JSON {
			return s.hold(delta.Get("text"))
		}
		return s.sayText(textBlock, source, delta.Get("text"))
	case "reasoningContent":
		return s.reason(source, delta.Get("reasoningContent"))
	case "toolUse":
		return s.sayInput(source, delta.Get("toolUse.input"))
	default:
		return uncarriable(what)
	}
}

func (s *Stream) blockStop(doc gjson.Result) *fault.Error {
	source := doc.Get("contentBlockIndex").Int()
	for i := range s.open {
		if s.open[i].source == source {
			s.closeBlock(i)
			break
		}
	}
	return nil
}

func (s *Stream) sayText(kind blockKind, source int64, v gjson.Result) *fault.Error {
	text, ok := inner(v)
	if !ok {
		return garbage("a text is no string")
	}
	if text == "" {
		return nil
	}
	b := s.find(source)
	if b == nil || b.kind != kind || b.unseen {
		if failure := s.openBlock(streamBlock{answerPart: answerPart{kind: kind}, source: source}); failure != nil {
			return failure
		}
		b = s.find(source)
	}
	return s.say(b, text)
}

// reason says a piece of reasoning, or keeps its signature, which comes after the text
// or without one.
func (s *Stream) reason(source int64, v gjson.Result) *fault.Error {
	if text := v.Get("text"); text.Exists() {
		return s.sayText(reasoningBlock, source, text)
	}
	signature, signed := inner(v.Get("signature"))
	sealed, isSealed := inner(v.Get("redactedContent"))
	if s.asked.Form == Completions || signature == "" && sealed == "" {
		return nil
	}
	kind := sealedBlock
	if signed {
		kind = reasoningBlock
	}
	b := s.find(source)
	if b == nil || b.kind != kind || isSealed {
		if failure := s.openBlock(streamBlock{answerPart: answerPart{kind: kind}, source: source, unseen: true}); failure != nil {
			return failure
		}
		b = s.find(source)
	}
	b.seal = append(append(b.seal, signature...), sealed...)
	return s.keep(len(signature) + len(sealed))
}

// sayInput says a piece of a call's arguments: text that is JSON once it is whole. It
// is not looked into, because OpenAI promises no more of it either.
func (s *Stream) sayInput(source int64, v gjson.Result) *fault.Error {
	text, ok := inner(v)
	if !ok {
		return garbage("a piece of a tool's input is no string")
	}
	b := s.find(source)
	if b == nil || b.kind != callBlock && !s.asked.JSON {
		if s.stopped && text == "" {
			return nil
		}
		return conflict("input came for a call that is not open")
	}
	if text == "" || b.ignored {
		return nil
	}
	return s.say(b, text)
}

func (s *Stream) say(b *streamBlock, text string) *fault.Error {
	if s.asked.Form == Responses || b.kind == reasoningBlock {
		if failure := s.keep(len(text)); failure != nil {
			return failure
		}
	}
	b.said = true
	s.out = s.speaker.say(s.out, b, text)
	return nil
}

// keep counts what has to be said again.
func (s *Stream) keep(n int) *fault.Error {
	if s.kept += n; s.kept > mostKept {
		return garbage("the answer is too long")
	}
	return nil
}

// find is the open block with Bedrock's index.
func (s *Stream) find(source int64) *streamBlock {
	for i := range s.open {
		if s.open[i].source == source {
			return &s.open[i]
		}
	}
	return nil
}

// openBlock begins a block. One of the same index that was not ended ends here.
func (s *Stream) openBlock(b streamBlock) *fault.Error {
	if s.stopped {
		return conflict("content came after messageStop")
	}
	if len(s.open) >= mostOpen {
		return garbage("too many blocks are open")
	}
	for i := range s.open {
		if s.open[i].source == b.source {
			s.closeBlock(i)
			break
		}
	}
	s.begin()
	if !b.ignored {
		b.order = s.opened
		s.opened++
		s.out = s.speaker.open(s.out, &b)
	}
	s.open = append(s.open, b)
	return nil
}

// closeBlock ends an open block. A call without a piece of input has the arguments {}:
// clients read them as JSON.
func (s *Stream) closeBlock(i int) {
	b := &s.open[i]
	if !b.ignored {
		if !b.said && (b.kind == callBlock || s.asked.JSON && b.kind == textBlock) {
			s.out = s.speaker.say(s.out, b, "{}")
		}
		s.out = s.speaker.close(s.out, b)
	}
	s.open = slices.Delete(s.open, i, i+1)
}

func conflict(why string) *fault.Error {
	err := garbage(why)
	err.Message = msgSelfConflict
	return err
}

// firstKey is the name of an object's first member; empty if there is none. Bedrock's
// unions have one.
func firstKey(v gjson.Result) (name string) {
	v.ForEach(func(key, _ gjson.Result) bool {
		name = key.Str
		return false
	})
	return name
}
