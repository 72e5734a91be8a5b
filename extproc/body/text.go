package body

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

func indexByte(text []byte, c byte) int { return bytes.IndexByte(text, c) }

// hex4 reads four hexadecimal digits.
func hex4(text []byte) (unit rune, ok bool) {
	if len(text) < 4 {
		return 0, false
	}
	for _, c := range text[:4] {
		unit <<= 4
		switch {
		case c >= '0' && c <= '9':
			unit |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			unit |= rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			unit |= rune(c-'A') + 10
		default:
			return 0, false
		}
	}
	return unit, true
}

// unescape decodes what lies between the quotes of a string that was scanned.
func unescape(inner []byte) string {
	out := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); i++ {
		if inner[i] != '\\' {
			out = append(out, inner[i])
			continue
		}
		i++
		switch c := inner[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			unit, _ := hex4(inner[i+1:])
			i += 4
			if utf16.IsSurrogate(unit) {
				low, _ := hex4(inner[i+3:])
				i += 6
				unit = utf16.DecodeRune(unit, low)
			}
			out = utf8.AppendRune(out, unit)
		default: // a quote, a backslash, a slash
			out = append(out, c)
		}
	}
	return string(out)
}
