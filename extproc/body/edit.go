package body

import (
	"bytes"
	"encoding/json"
)

// Edit replaces the bytes [Start, End) of a body by With. Start == End inserts.
type Edit struct {
	Start, End int
	With       []byte
}

// Apply makes the edits, which must be in order and must not overlap, in one copy.
// Without edits it gives the body itself.
func Apply(body []byte, edits ...Edit) []byte {
	if len(edits) == 0 {
		return body
	}
	size := len(body)
	for _, e := range edits {
		size += len(e.With) - (e.End - e.Start)
	}
	out := make([]byte, 0, size)
	at := 0
	for _, e := range edits {
		out = append(out, body[at:e.Start]...)
		out = append(out, e.With...)
		at = e.End
	}
	return append(out, body[at:]...)
}

// Quote is text as a JSON string, with nothing escaped that need not be.
func Quote(text string) []byte {
	plainText := true
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x80 {
			plainText = false
			break
		}
	}
	if plainText {
		out := make([]byte, 0, len(text)+2)
		out = append(out, '"')
		out = append(out, text...)
		return append(out, '"')
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // nobody reads this as HTML
	_ = encoder.Encode(text)     //nolint:errchkjson // a string: cannot fail
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
