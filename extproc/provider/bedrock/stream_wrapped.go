package bedrock

import (
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// wrapped is what a stream needs to know where the answer's text is to be the input of
// a tool that stands for response_format. What the model says before it uses the tool
// is held, because it is only told if the model never does: the client asked for JSON
// and nothing else.
type wrapped struct {
	found bool
	held  []byte
}

// openWrapped begins the text that a call's input is. Only the first call counts.
func (s *Stream) openWrapped(source int64, id string) *fault.Error {
	b := streamBlock{answerPart: answerPart{kind: textBlock, id: id}, source: source, ignored: s.wrapped.found}
	s.wrapped = wrapped{found: true}
	return s.openBlock(b)
}

func (s *Stream) hold(v gjson.Result) *fault.Error {
	text, ok := inner(v)
	switch {
	case !ok:
		return garbage("a text is no string")
	case text == "" || s.wrapped.found && !s.stopped:
		return nil
	case s.stopped:
		return conflict("content came after messageStop")
	case len(s.wrapped.held)+len(text) > mostKept:
		return garbage("the answer is too long")
	}
	s.begin()
	s.wrapped.held = append(s.wrapped.held, text...)
	return nil
}

// unheld says what was held, if the model did not use the tool.
func (s *Stream) unheld() {
	if len(s.wrapped.held) == 0 {
		return
	}
	b := streamBlock{answerPart: answerPart{kind: textBlock}, order: s.opened, said: true}
	s.opened++
	s.out = s.speaker.open(s.out, &b)
	s.out = s.speaker.say(s.out, &b, string(s.wrapped.held))
	s.out = s.speaker.close(s.out, &b)
	s.wrapped.held = nil
}
