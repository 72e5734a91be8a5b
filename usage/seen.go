package usage

import (
	"encoding/binary"
	"hash/maphash"
	"time"
)

// seen remembers the last entries by a fingerprint, so that one that comes twice is
// counted once. It is bounded by count. It is not safe for concurrent use.
type seen struct {
	seed  maphash.Seed
	known map[uint64]struct{}
	ring  []uint64
	next  int
}

func newSeen(most int) *seen {
	return &seen{seed: maphash.MakeSeed(), known: make(map[uint64]struct{}, most), ring: make([]uint64, 0, most)}
}

// mark is what tells an entry from all others: a client may use an id twice, but not
// begin twice in the same instant with it and take equally long.
type mark struct {
	attempt  bool
	id       string
	begun    time.Time
	took     time.Duration
	provider string
	status   int
	in, out  int64
}

// face is the mark in eight bytes.
func (s *seen) face(m *mark) uint64 {
	var text [8 * 8]byte
	kind := uint64(0)
	if m.attempt {
		kind = 1
	}
	for i, n := range [...]uint64{
		maphash.String(s.seed, m.id), maphash.String(s.seed, m.provider), kind,
		uint64(m.begun.Unix()), uint64(m.begun.Nanosecond())<<32 | uint64(m.status), //nolint:gosec // any bits will do
		uint64(m.took), uint64(m.in), uint64(m.out), //nolint:gosec // likewise
	} {
		binary.LittleEndian.PutUint64(text[8*i:], n)
	}
	return maphash.Bytes(s.seed, text[:])
}

// again says that an equal mark was seen, and remembers this one.
func (s *seen) again(m *mark) bool {
	face := s.face(m)
	if _, twice := s.known[face]; twice {
		return true
	}
	if len(s.ring) < cap(s.ring) {
		s.ring = append(s.ring, face)
	} else {
		delete(s.known, s.ring[s.next])
		s.ring[s.next] = face
		s.next = (s.next + 1) % len(s.ring)
	}
	s.known[face] = struct{}{}
	return false
}
