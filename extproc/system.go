package extproc

import (
	"bytes"
	"context"
	"slices"

	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/fault"
)

// System puts a text of the operator's in front of what the client says: as the
// first message of a chat, and before the instructions of a response. Other
// endpoints have no place for one and pass as they are.
type System struct {
	text    string
	message []byte // the text as a chat message
}

var _ Stage = (*System)(nil)

// NewSystem makes the stage for a text.
func NewSystem(text string) *System {
	message := append([]byte(`{"role":"system","content":`), body.Quote(text)...)
	return &System{text: text, message: append(message, '}')}
}

// Name is "system".
func (*System) Name() string { return "system" }

// Apply adds the edit.
func (s *System) Apply(_ context.Context, r *Request) error {
	switch r.Endpoint {
	case Chat:
		return s.chat(r)
	case Responses:
		return s.responses(r)
	default:
		return nil
	}
}

func (s *System) chat(r *Request) error {
	field, there := r.Fields.Find("messages")
	if !there || r.Body[field.Start] != '[' {
		return wrong("messages", `"messages" must be a list.`)
	}
	with := s.message
	if len(bytes.TrimSpace(r.Body[field.Start+1:field.End-1])) > 0 {
		with = append(slices.Clip(with), ',')
	}
	r.Edit(body.Edit{Start: field.Start + 1, End: field.Start + 1, With: with})
	return nil
}

func (s *System) responses(r *Request) error {
	field, there := r.Fields.Find("instructions")
	if !there {
		// Scan accepted an object that has at least a model: a comma is right.
		at := bytes.IndexByte(r.Body, '{') + 1
		with := append([]byte(`"instructions":`), body.Quote(s.text)...)
		r.Edit(body.Edit{Start: at, End: at, With: append(with, ',')})
		return nil
	}
	raw := field.Raw(r.Body)
	text := s.text
	if raw[0] != 'n' { // null is as good as none
		own, isText := body.Text(raw)
		if !isText {
			return wrong("instructions", `"instructions" must be a string.`)
		}
		text += "\n\n" + own
	}
	r.Edit(body.Edit{Start: field.Start, End: field.End, With: body.Quote(text)})
	return nil
}

// wrong is a client's mistake in one field.
func wrong(param, message string) error {
	return &fault.Error{Op: "extproc", Kind: fault.InvalidRequest, Param: param, Message: message}
}
