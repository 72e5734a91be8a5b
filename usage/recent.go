package usage

import (
	"container/list"
	"sync"
)

// RecentSettings bound what a Recent holds. The zero value has the defaults.
type RecentSettings struct {
	Requests int // default 10,000
	Keys     int // default 10,000
}

// Recent is a Consumer that remembers the last requests, and the sums of the keys that
// were used last, and shows each key its own (see ServeHTTP). It forgets everything
// when the process ends: it is for looking, not for bills.
type Recent struct {
	sums keySums

	mu     sync.RWMutex
	ring   []*Request
	next   int
	byName map[owned]*Request
}

// owned is a request's id together with whose it is: another key's request with the
// same id must not hide it, and must not be seen.
type owned struct{ key, id string }

var _ Consumer = (*Recent)(nil)

// NewRecent makes a Recent that remembers nothing yet.
func NewRecent(s RecentSettings) *Recent {
	if s.Requests <= 0 {
		s.Requests = 10_000
	}
	if s.Keys <= 0 {
		s.Keys = 10_000
	}
	r := &Recent{ring: make([]*Request, s.Requests), byName: map[owned]*Request{}}
	r.sums.most, r.sums.byKey = s.Keys, map[string]*list.Element{}
	return r
}

// Consume remembers one request. Requests without a key are nobody's to see, and who looks
// at this, or at the list of models, uses nothing by it.
func (s *Recent) Consume(r *Request) {
	if r.Key == "" || r.looked() {
		return
	}
	s.sums.add(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.ring[s.next]; old != nil {
		name := owned{old.Key, old.ID}
		if s.byName[name] == old { // and not a later one that took the name
			delete(s.byName, name)
		}
	}
	s.ring[s.next] = r
	s.next = (s.next + 1) % len(s.ring)
	s.byName[owned{r.Key, r.ID}] = r
}

// Request finds a key's request by its id; the last one, where the key used the id
// again.
func (s *Recent) Request(key, id string) (*Request, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.byName[owned{key, id}]
	return r, ok
}

// Sums are a key's own; ok is false if it was not used lately.
func (s *Recent) Sums(key string) (sums Sums, ok bool) { return s.sums.of(key) }
