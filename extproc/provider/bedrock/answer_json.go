package bedrock

import (
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/extproc/body"
)

const hexDigits = "0123456789abcdef"

// appendString adds text as a JSON string.
func appendString[T string | []byte](to []byte, text T) []byte {
	to = append(to, '"')
	to = appendEscaped(to, text)
	return append(to, '"')
}

// appendEscaped adds text as it stands between the quotes of a JSON string. Bytes that
// are no UTF-8 become U+FFFD.
func appendEscaped[T string | []byte](to []byte, text T) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c == '\n':
			to = append(to, '\\', 'n')
		case c < ' ':
			to = append(to, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		case c < utf8.RuneSelf:
			to = append(to, c)
		default:
			r, size := utf8.DecodeRuneInString(string(text[i:min(len(text), i+utf8.UTFMax)]))
			to = utf8.AppendRune(to, r)
			i += size
			continue
		}
		i++
	}
	return to
}

// shortJSON is too short to be nested so deeply that reading it needs much of a stack.
const shortJSON = 16 << 10

// validJSON says that text is JSON in UTF-8, and, where it is long, not nested beyond
// body.MaxDepth: gjson goes down as deep as a text does, and a provider must not be able
// to use up the stack.
func validJSON(text []byte) bool {
	return utf8.Valid(text) && (len(text) <= shortJSON || shallow(text)) && gjson.ValidBytes(text)
}

func shallow(text []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
			if c == '\\' {
				i++
			}
		case c == '[' || c == '{':
			if depth++; depth > body.MaxDepth {
				return false
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return true
}

// inner is a JSON string as it stands between its quotes. What was escaped stays so:
// it need not be read to be written again, and half of a surrogate pair in one piece
// of a stream meets its other half in the next.
func inner(v gjson.Result) (string, bool) {
	if v.Type != gjson.String || len(v.Raw) < 2 {
		return "", false
	}
	return v.Raw[1 : len(v.Raw)-1], true
}
