package body

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// Errors of Scan. Their texts are for clients: they name no part of the body.
var (
	ErrSyntax    = errors.New("the body is not valid JSON")
	ErrNotObject = errors.New("the body must be a JSON object")
	ErrDuplicate = errors.New("the body has the same key twice in one object")
	ErrDepth     = errors.New("the body is nested too deeply")
	ErrUTF8      = errors.New("the body is not valid UTF-8")
	ErrNumber    = errors.New("the body has a number that is out of range")
)

// Scan reads a whole body once and gives the fields of its top level.
func Scan(body []byte) (Fields, error) {
	s := scanner{body: body, top: make(Fields, 0, 16)}
	if err := s.document(); err != nil {
		return nil, err
	}
	if !utf8.Valid(body) {
		return nil, ErrUTF8
	}
	return s.top, nil
}

// scanner is one pass over a body.
type scanner struct {
	body []byte
	at   int
	top  Fields
	open []container
	keys []span // of all open objects, the innermost last
}

// container is an object or an array that is not closed yet.
type container struct {
	object bool
	keys   int                 // where its keys begin in scanner.keys
	many   map[string]struct{} // its keys, once they are too many to compare
}

// span is a key between its quotes.
type span struct{ start, end int }

// fewKeys is up to how many keys of one object are compared one by one.
const fewKeys = 24

func (s *scanner) document() error {
	s.space()
	if s.at == len(s.body) {
		return ErrSyntax
	}
	if s.body[s.at] != '{' {
		if s.value() != nil || s.trailing() {
			return ErrSyntax
		}
		return ErrNotObject
	}
	if err := s.value(); err != nil {
		return err
	}
	if s.trailing() {
		return ErrSyntax
	}
	return nil
}

// trailing says that something other than white space is left.
func (s *scanner) trailing() bool {
	s.space()
	return s.at != len(s.body)
}

// value reads one value and everything in it. It does not recurse: open holds
// what a recursion would.
func (s *scanner) value() error {
	floor := len(s.open)
	for {
		opened, err := s.begin()
		if err != nil {
			return err
		}
		if opened {
			continue
		}
		more, err := s.end(floor)
		if err != nil || !more {
			return err
		}
	}
}

// begin reads a scalar, or the start of a container with the first key in it.
// opened says that the container's first value is to be read next.
func (s *scanner) begin() (opened bool, err error) {
	s.space()
	if s.at == len(s.body) {
		return false, ErrSyntax
	}
	switch c := s.body[s.at]; c {
	case '{', '[':
		return s.enter(c == '{')
	case '"':
		_, err := s.text()
		return false, err
	case 't':
		return false, s.word("true")
	case 'f':
		return false, s.word("false")
	case 'n':
		return false, s.word("null")
	default:
		return false, s.number()
	}
}

func (s *scanner) enter(object bool) (opened bool, err error) {
	if len(s.open) == MaxDepth {
		return false, ErrDepth
	}
	s.open = append(s.open, container{object: object, keys: len(s.keys)})
	s.at++
	s.space()
	closing := byte(']')
	if object {
		closing = '}'
	}
	if s.at < len(s.body) && s.body[s.at] == closing {
		s.leave()
		return false, nil
	}
	if object {
		return true, s.key()
	}
	return true, nil
}

func (s *scanner) leave() {
	s.at++
	last := len(s.open) - 1
	s.keys = s.keys[:s.open[last].keys]
	s.open = s.open[:last]
}

// end reads what follows a value: commas and closing brackets, until another
// value is to be read (more) or the container depth is down to floor.
func (s *scanner) end(floor int) (more bool, err error) {
	for len(s.open) > floor {
		inner := &s.open[len(s.open)-1]
		if len(s.open) == 1 && inner.object {
			s.top[len(s.top)-1].End = s.at
		}
		s.space()
		if s.at == len(s.body) {
			return false, ErrSyntax
		}
		switch c := s.body[s.at]; {
		case c == ',':
			s.at++
			if inner.object {
				s.space()
				return true, s.key()
			}
			return true, nil
		case c == '}' && inner.object, c == ']' && !inner.object:
			s.leave()
		default:
			return false, ErrSyntax
		}
		if len(s.open) == 0 {
			return false, nil
		}
	}
	return false, nil
}

// key reads a key and its colon.
func (s *scanner) key() error {
	if s.at == len(s.body) || s.body[s.at] != '"' {
		return ErrSyntax
	}
	k, err := s.text()
	if err != nil {
		return err
	}
	if err := s.unique(k); err != nil {
		return err
	}
	s.space()
	if s.at == len(s.body) || s.body[s.at] != ':' {
		return ErrSyntax
	}
	s.at++
	if len(s.open) == 1 {
		s.space()
		name, _ := Text(s.body[k.start-1 : k.end+1])
		s.top = append(s.top, Field{Name: name, Start: s.at})
	}
	return nil
}

// unique refuses a key that the innermost object has already: which of the two a
// reader takes differs, and a gate must not judge another one than the provider.
func (s *scanner) unique(k span) error {
	inner := &s.open[len(s.open)-1]
	text := s.body[k.start:k.end]
	if inner.many == nil && len(s.keys)-inner.keys >= fewKeys {
		inner.many = make(map[string]struct{}, 2*fewKeys)
		for _, other := range s.keys[inner.keys:] {
			inner.many[s.decoded(other)] = struct{}{}
		}
	}
	if inner.many != nil {
		name := s.decoded(k)
		if _, there := inner.many[name]; there {
			return ErrDuplicate
		}
		inner.many[name] = struct{}{}
		return nil
	}
	escaped := indexByte(text, '\\') >= 0
	for _, other := range s.keys[inner.keys:] {
		o := s.body[other.start:other.end]
		if string(o) == string(text) {
			return ErrDuplicate
		}
		if (escaped || indexByte(o, '\\') >= 0) && s.decoded(other) == s.decoded(k) {
			return ErrDuplicate
		}
	}
	s.keys = append(s.keys, k)
	return nil
}

func (s *scanner) decoded(k span) string {
	text, _ := Text(s.body[k.start-1 : k.end+1])
	return text
}

func (s *scanner) space() {
	for s.at < len(s.body) {
		switch s.body[s.at] {
		case ' ', '\n', '\r', '\t':
			s.at++
		default:
			return
		}
	}
}

func (s *scanner) word(word string) error {
	if len(s.body)-s.at < len(word) || string(s.body[s.at:s.at+len(word)]) != word {
		return ErrSyntax
	}
	s.at += len(word)
	return nil
}

// number reads a number as RFC 8259 writes it, and refuses one that no float
// holds.
func (s *scanner) number() error {
	start := s.at
	s.skip('-', '-')
	switch {
	case s.skip('0', '0'):
	case s.skip('1', '9'):
		s.digits()
	default:
		return ErrSyntax
	}
	if s.skip('.', '.') && !s.digits() {
		return ErrSyntax
	}
	if s.skip('e', 'e') || s.skip('E', 'E') {
		if !s.skip('+', '+') {
			s.skip('-', '-')
		}
		if !s.digits() {
			return ErrSyntax
		}
		if _, err := strconv.ParseFloat(string(s.body[start:s.at]), 64); err != nil {
			return ErrNumber
		}
	} else if s.at-start > 308 {
		return ErrNumber
	}
	return nil
}

// skip takes one byte between low and high.
func (s *scanner) skip(low, high byte) bool {
	if s.at < len(s.body) && s.body[s.at] >= low && s.body[s.at] <= high {
		s.at++
		return true
	}
	return false
}

func (s *scanner) digits() (some bool) {
	for s.skip('0', '9') {
		some = true
	}
	return some
}

// text reads a string, from its opening quote on, and gives what lies between the
// quotes.
func (s *scanner) text() (span, error) {
	s.at++
	start := s.at
	for {
		s.at += plain(s.body[s.at:])
		if s.at == len(s.body) {
			return span{}, ErrSyntax
		}
		switch s.body[s.at] {
		case '"':
			s.at++
			return span{start, s.at - 1}, nil
		case '\\':
			if err := s.escape(); err != nil {
				return span{}, err
			}
		default: // a control character
			return span{}, ErrSyntax
		}
	}
}

// plain is how many bytes at the start of text are neither a quote, a backslash
// nor a control character. It looks at eight at a time.
func plain(text []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(text)-n >= 8; n += 8 {
		word := binary.LittleEndian.Uint64(text[n:])
		quote := word ^ ones*'"'
		slash := word ^ ones*'\\'
		// The high bit of a byte of (x - ones) &^ x is set where x is zero, and
		// perhaps behind it; the first one set is right, and that is enough.
		found := ((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((word - ones*0x20) &^ word)
		if found &= highs; found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
	}
	for ; n < len(text); n++ {
		if c := text[n]; c == '"' || c == '\\' || c < 0x20 {
			return n
		}
	}
	return n
}

// escape reads an escape sequence; a surrogate needs its other half.
func (s *scanner) escape() error {
	if len(s.body)-s.at < 2 {
		return ErrSyntax
	}
	s.at += 2
	switch s.body[s.at-1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
	default:
		return ErrSyntax
	}
	return s.codePoint()
}

// codePoint reads what stands behind \u.
func (s *scanner) codePoint() error {
	unit, ok := hex4(s.body[s.at:])
	if !ok {
		return ErrSyntax
	}
	s.at += 4
	switch {
	case unit >= 0xDC00 && unit <= 0xDFFF:
		return ErrUTF8
	case unit < 0xD800 || unit > 0xDBFF:
		return nil
	}
	if len(s.body)-s.at < 6 || s.body[s.at] != '\\' || s.body[s.at+1] != 'u' {
		return ErrUTF8
	}
	low, ok := hex4(s.body[s.at+2:])
	if !ok {
		return ErrSyntax
	}
	if low < 0xDC00 || low > 0xDFFF {
		return ErrUTF8
	}
	s.at += 6
	return nil
}
