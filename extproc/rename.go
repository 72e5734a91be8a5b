package extproc

import (
	"context"
	"strings"

	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/fault"
)

// Rename writes another name for the model into the body, and nothing else.
type Rename struct {
	Pattern string // the entry's name in the configuration: "gpt", or "openai/*"
	To      string // the new name; a * in it is what the pattern's * stood for
}

var _ Stage = Rename{}

// Name is "rename".
func (Rename) Name() string { return "rename" }

// Apply adds the edit.
func (s Rename) Apply(_ context.Context, r *Request) error {
	field, there := r.Fields.Find("model")
	if !there {
		return &fault.Error{Op: "extproc.rename", Kind: fault.InvalidRequest, Param: "model", Message: `"model" is missing.`}
	}
	old, isText := body.Text(field.Raw(r.Body))
	if !isText {
		return &fault.Error{Op: "extproc.rename", Kind: fault.InvalidRequest, Param: "model", Message: `"model" must be a string.`}
	}
	if name := renamed(s.Pattern, s.To, old); name != old {
		r.Edit(body.Edit{Start: field.Start, End: field.End, With: body.Quote(name)})
	}
	return nil
}

// renamed is a name with what the pattern's * stands for in the client's own.
func renamed(pattern, to, asked string) string {
	if stem, isPattern := strings.CutSuffix(pattern, "*"); isPattern {
		return strings.Replace(to, "*", strings.TrimPrefix(asked, stem), 1)
	}
	return to
}
