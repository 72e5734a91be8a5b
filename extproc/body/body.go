// Package body reads and edits JSON request bodies as bytes. It never builds a
// value of the whole document: one pass says where the fields of the top level
// lie, and an edit copies everything around the place it changes.
//
// The invariant: what an edit does not name travels byte for byte, numbers,
// unknown fields, order and white space included. Scan accepts exactly what
// Envoy's own reader accepts on the lane without Go (one object, no key twice in
// any object, at most MaxDepth deep, valid UTF-8, finite numbers), except that it
// refuses control characters in strings, as RFC 8259 does.
//
// All functions are pure and safe for concurrent use. Slices they return point
// into the body they were given.
package body

import "bytes"

// MaxDepth is how deep objects and arrays may lie in each other, the body itself
// counted. It is Envoy's own bound, so that a body is judged alike on every lane.
const MaxDepth = 100

// Field is one member of the top-level object. Its bounds are offsets into the
// body.
type Field struct {
	Name  string // decoded
	Start int    // of the value
	End   int    // behind the value
}

// Fields are the members of the top-level object, in their order.
type Fields []Field

// Find gives the field of a name; ok is false if there is none.
func (f Fields) Find(name string) (field Field, ok bool) {
	for _, field := range f {
		if field.Name == name {
			return field, true
		}
	}
	return Field{}, false
}

// Raw is a field's value as it stands in the body.
func (f Field) Raw(body []byte) []byte { return body[f.Start:f.End] }

// Text decodes a value that is a JSON string; ok is false if it is none. The value
// must come from a body that Scan accepted.
func Text(value []byte) (text string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), true
	}
	return unescape(inner), true
}
