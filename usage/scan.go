package usage

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// scan walks a message's fields, one at each next. What is broken ends the message it
// stands in, not the ones around it. Texts are parts of the message.
type scan struct {
	rest   []byte
	number protowire.Number
	text   []byte // of fields that have a length
	value  uint64 // of the others
}

// next goes to the next field, if there is one.
func (s *scan) next() bool {
	if len(s.rest) == 0 {
		return false
	}
	// Nearly all numbers of fields, and most lengths, are one byte.
	tag, n := uint64(s.rest[0]), 1
	if tag >= 0x80 {
		tag, n = protowire.ConsumeVarint(s.rest)
	}
	if n < 0 {
		return s.broken()
	}
	number, kind := protowire.DecodeTag(tag)
	if number < protowire.MinValidNumber {
		return s.broken()
	}
	s.number, s.text, s.value, s.rest = number, nil, 0, s.rest[n:]
	return s.take(kind)
}

func (s *scan) take(kind protowire.Type) bool {
	var n int
	switch kind {
	case protowire.BytesType:
		s.text, n = protowire.ConsumeBytes(s.rest)
	case protowire.VarintType:
		s.value, n = protowire.ConsumeVarint(s.rest)
	case protowire.Fixed64Type:
		if n = 8; len(s.rest) < n {
			return s.broken()
		}
		s.value = binary.LittleEndian.Uint64(s.rest)
	default:
		n = protowire.ConsumeFieldValue(s.number, kind, s.rest)
	}
	if n < 0 {
		return s.broken()
	}
	s.rest = s.rest[n:]
	return true
}

func (s *scan) broken() bool {
	*s = scan{}
	return false
}

// pair reads an entry of a map.
func pair(message []byte) (key, value []byte) {
	for s := (scan{rest: message}); s.next(); {
		switch s.number {
		case 1:
			key = s.text
		case 2:
			value = s.text
		}
	}
	return key, value
}
