package stage

import (
	"slices"
	"sync"
)

// remembered is how many requests are kept; the oldest go first.
const remembered = 10_000

// Counts is what happened since the start, or since Reset.
type Counts struct {
	Connections int // accepted, greeted or not
	Requests    int // whose head arrived
	Active      int // being answered now; Reset leaves it alone
	Answered    int // to the end
	Broken      int // broken off because a Behavior said so
	Aborted     int // the client went away, before its body or our answer was through
}

type record[R any] struct {
	mu       sync.Mutex
	requests []R
	counts   Counts
	number   int
	accepted int // by the door when Reset was called
}

func (c *record[R]) begin() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	c.counts.Requests++
	c.counts.Active++
	return c.number
}

func (c *record[R]) keep(r R) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.requests) == remembered {
		c.requests = slices.Delete(c.requests, 0, 1)
	}
	c.requests = append(c.requests, r)
}

func (c *record[R]) end(how Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Active--
	switch how {
	case Answered:
		c.counts.Answered++
	case Broken:
		c.counts.Broken++
	case Aborted:
		c.counts.Aborted++
	case Stopped: // the stage is closing: nobody's doing but ours
	}
}

// Requests are the recorded requests, oldest first. Bodies and headers are shared
// with the record: read them only.
func (s *Stage[R]) Requests() []R {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return slices.Clone(s.record.requests)
}

// Last is the request recorded last; the zero value if there is none.
func (s *Stage[R]) Last() R {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	if len(s.record.requests) == 0 {
		var none R
		return none
	}
	return s.record.requests[len(s.record.requests)-1]
}

// Counts gives all counters at one moment.
func (s *Stage[R]) Counts() Counts {
	accepted := s.door.count()
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	counts := s.record.counts
	counts.Connections = accepted - s.record.accepted
	return counts
}

// Reset forgets all requests and counters, and welcomes connections again. It does not
// end answers under way, nor Refuse.
func (s *Stage[R]) Reset() {
	s.Greet(Welcome)
	accepted := s.door.count()
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	s.record.requests = nil
	s.record.counts = Counts{Active: s.record.counts.Active}
	s.record.accepted = accepted
}
