package strict

import (
	"bytes"
	"strconv"

	"github.com/postern-proxy/postern/extproc/body"
)

// value is a JSON value as it stands in a body that body.Scan accepted: only such a
// one may be read here, because nothing is checked again. The nil value is one that
// is absent. gjson is not used for this, because it decodes every string that it
// passes, and a conversation's strings are most of its bytes.
type value []byte

// kind is what a value begins with: '"', '{', '[', 't' or 'f' (a boolean), '0' (a
// number), 'n' (null), or 0 (absent).
func (v value) kind() byte {
	if len(v) == 0 {
		return 0
	}
	switch c := v[0]; c {
	case '"', '{', '[', 't', 'n':
		return c
	case 'f':
		return 't'
	default:
		return '0'
	}
}

// orAbsent is v, or absent where v is null.
func (v value) orAbsent() value {
	if v.kind() == 'n' {
		return nil
	}
	return v
}

// inner is what a string says. It is decoded only where it has an escape.
func (v value) inner() []byte {
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	text, _ := body.Text(v)
	return []byte(text)
}

// is says that v is the string word.
func (v value) is(word string) bool { return v.kind() == '"' && string(v.inner()) == word }

// number is a number's value.
func (v value) number() float64 {
	n, _ := strconv.ParseFloat(string(v), 64) // Scan refused what does not fit
	return n
}

// walk goes through the members of an object, or the elements of a list, in order.
type walk struct {
	text  []byte
	at    int
	index int
	name  value // of a member: a string, its quotes included
	value value
}

// each begins a walk; v must be an object or a list.
func (v value) each() walk { return walk{text: v, at: 1, index: -1} }

// next goes to the next one; false if there is none.
func (w *walk) next() bool {
	w.at = space(w.text, w.at)
	if w.text[w.at] == ',' {
		w.at = space(w.text, w.at+1)
	}
	if w.at == len(w.text)-1 {
		return false
	}
	w.index++
	w.value, w.at = take(w.text, w.at)
	if w.text[0] == '{' {
		w.name = w.value
		colon := space(w.text, w.at)
		w.value, w.at = take(w.text, space(w.text, colon+1))
	}
	return true
}

// get is an object's member; absent if it is not there, or null.
func (v value) get(name string) value {
	for w := v.each(); w.next(); {
		if string(w.name.inner()) == name {
			return w.value.orAbsent()
		}
	}
	return nil
}

func space(text []byte, at int) int {
	for text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t' {
		at++
	}
	return at
}

// take is the value that begins at at, and where it ends.
func take(text []byte, at int) (v value, end int) {
	end = at
	switch text[at] {
	case '"':
		end = afterString(text, at)
	case '{', '[':
		end = afterContainer(text, at)
	default:
		for end < len(text) && !ends(text[end]) {
			end++
		}
	}
	return text[at:end], end
}

// ends says that a number or a word is over.
func ends(c byte) bool { return c == ',' || c == '}' || c == ']' || c <= ' ' }

// afterString is behind the string that begins at at.
func afterString(text []byte, at int) int {
	for end := at + 1; ; end++ {
		end += bytes.IndexByte(text[end:], '"')
		slashes := 0
		for text[end-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 { // the quote itself is not escaped
			return end + 1
		}
	}
}

// afterContainer is behind the object or list that begins at at.
func afterContainer(text []byte, at int) int {
	for depth := 0; ; at++ {
		switch text[at] {
		case '"':
			at = afterString(text, at) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		}
	}
}
