package extproc

import (
	"bytes"
	"unicode/utf8"
)

// tokens is how many tokens a text has for a model whose tokenizer nobody here has:
// surely, probably, and perhaps. What is not known of a request is the provider's to
// judge, so each use takes the bound that is on its safe side.
//
// Bytes do not tell it: English has 4 to 5 of them a token, Chinese in UTF-8 has 3, and
// 6 where it is escaped, base64 has not even 2. What does is that no tokenizer joins two
// words, nor two numbers of more than three digits, and that the long words are cut. So
// the runs of letters, of digits and of signs are counted, of those texts that stand in
// JSON as strings, their escapes read. A string that is a data URL is none of them.
type tokens struct{ least, likely, most int64 }

func (t *tokens) more(other tokens) {
	t.least, t.likely, t.most = t.least+other.least, t.likely+other.likely, t.most+other.most
}

func (t *tokens) less(other tokens) {
	t.more(tokens{-other.least, -other.likely, -other.most})
}

// Kinds of bytes, and of the runs of characters.
const (
	other = iota // the end of a string, an escape, a part of a longer character; no run
	letters
	digits
	signs
	spaces
	foreign // letters of other alphabets
)

// kindOf is the kind of a byte.
var kindOf = func() (kinds [256]uint8) {
	for c := range utf8.RuneSelf {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			kinds[c] = letters
		case c >= '0' && c <= '9':
			kinds[c] = digits
		case c <= ' ':
			kinds[c] = spaces
		case c != '"' && c != '\\':
			kinds[c] = signs
		}
	}
	return kinds
}()

// ideograms is where scripts begin that are written without spaces, a word in a character
// or two, and behind them emoji.
const ideograms = 0x2E80

// tokensOf counts a text that is JSON. Each byte is looked at once.
func tokensOf(text []byte) tokens {
	var c counting
	for {
		at := bytes.IndexByte(text, '"')
		if at < 0 {
			break
		}
		text = c.text(text[at+1:])
	}
	c.least += c.wide / 2
	c.likely += c.wide * 3 / 4
	c.most += c.wide * 2
	return c.tokens
}

// counting is a count that goes on.
type counting struct {
	tokens

	run  uint8 // the kind of the run that goes on
	size int64 // its characters
	caps int64 // of them, capitals behind small letters
	wide int64 // ideograms
}

// text counts a string whose quote was read, and gives what follows it.
func (c *counting) text(in []byte) []byte {
	if end := dataURL(in); end > 0 {
		return in[end:]
	}
	for i := 0; i < len(in); {
		kind := kindOf[in[i]]
		if kind != other {
			i += c.same(in[i:], kind)
			continue
		}
		switch in[i] {
		case '"':
			c.end()
			return in[i+1:]
		case '\\':
			i += c.escape(in[i:])
		default:
			r, size := utf8.DecodeRune(in[i:])
			c.rune(r)
			i += size
		}
	}
	c.end()
	return nil
}

// same counts what has one kind, and gives its length.
func (c *counting) same(in []byte, kind uint8) int {
	n := 1
	for n < len(in) && kindOf[in[n]] == kind {
		n++
	}
	c.add(kind, int64(n))
	if kind == letters {
		for i := 1; i < n; i++ {
			if in[i]&0x20 < in[i-1]&0x20 { // capitals do not have that bit
				c.caps++
			}
		}
	}
	return n
}

// dataURL is where a string ends, with its quote, if it is a data URL in base64; else 0.
func dataURL(in []byte) int {
	if !bytes.HasPrefix(in, []byte("data:")) || !bytes.Contains(in[:min(len(in), 128)], []byte(";base64,")) {
		return 0
	}
	return bytes.IndexByte(in, '"') + 1
}

// escape counts what an escape stands for, and gives its length.
func (c *counting) escape(in []byte) int {
	switch {
	case len(in) < 2:
		return len(in)
	case in[1] == 'n' || in[1] == 't' || in[1] == 'r':
		c.add(spaces, 1)
		return 2
	case in[1] != 'u' || len(in) < 6:
		c.add(signs, 1)
		return 2
	}
	var r rune
	for _, digit := range in[2:6] {
		r <<= 4
		switch lower := digit | 0x20; {
		case digit >= '0' && digit <= '9':
			r |= rune(digit - '0')
		case lower >= 'a' && lower <= 'f':
			r |= rune(lower-'a') + 10
		default: // it is no escape
			c.add(signs, 1)
			return 2
		}
	}
	if r < 0xDC00 || r > 0xDFFF { // the second half of a pair is counted with the first
		c.rune(r)
	}
	return 6
}

func (c *counting) rune(r rune) {
	switch {
	case r < utf8.RuneSelf && kindOf[r] != other:
		c.add(kindOf[r], 1)
	case r < utf8.RuneSelf:
		c.add(signs, 1)
	case r >= ideograms:
		c.end()
		c.wide++
		if r > 0xFFFF || r >= 0xD800 && r < 0xDC00 { // emoji, or one in two escapes
			c.wide++
		}
	case r >= 0x2000: // dashes, quotes and arrows
		c.add(signs, 1)
	case r < 0x250 && c.run == letters: // ä within a word
		c.add(letters, 1)
	default:
		c.add(foreign, 1)
	}
}

// add is n more characters of a kind.
func (c *counting) add(kind uint8, n int64) {
	if kind != c.run {
		c.end()
		c.run = kind
	}
	c.size += n
}

// end counts the run that ends. A single sign or space may be a part of the word behind
// it.
func (c *counting) end() {
	n := c.size
	switch c.run {
	case letters:
		c.least += 1 + (n-1)/16
		c.likely += 1 + (n-1)/7 + c.caps
		c.most += 1 + (n-1)/4 + 2*c.caps
	case digits:
		c.least += (n + 2) / 3
		c.likely += (n + 2) / 3
		c.most += n
	case signs:
		c.least += min(n-1, 1)
		c.likely += (n + 1) / 2
		c.most += n
	case spaces:
		c.likely += min(n-1, 1)
		c.most += min(n-1, 1+n/8)
	case foreign:
		c.least += 1 + (n-1)/16
		c.likely += 1 + (n-1)/3
		c.most += n + n/4
	}
	c.run, c.size, c.caps = other, 0, 0
}
