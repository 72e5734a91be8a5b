package usage

import (
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

// again says that an equal mark was seen, and remembers this one.
func (s *seen) again(m mark) bool {
	m.begun = m.begun.UTC() // equal instants are equal marks
	face := maphash.Comparable(s.seed, m)
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
