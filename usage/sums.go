package usage

import (
	"container/list"
	"sync"
	"time"

	"github.com/postern-proxy/postern/usage/price"
)

// Sums are what one key used.
type Sums struct {
	Since       time.Time // the first request that is in them
	Requests    int64
	Errors      int64 // requests that did not succeed, whoever is to blame
	Exact       TokenSums
	Estimated   TokenSums
	Unknown     int64 // requests whose tokens are not known
	Cost        price.Money
	Guessed     price.Money // the part of Cost that rests on estimated tokens
	CostUnknown int64       // requests whose cost is not known, and is not in Cost
}

// TokenSums are sums of tokens of one source.
type TokenSums struct {
	Input     int64 `json:"input"`
	Output    int64 `json:"output"`
	Cached    int64 `json:"cached"`
	Written   int64 `json:"written"`
	Reasoning int64 `json:"reasoning"`
}

func (s *Sums) add(r *Request) {
	s.Requests++
	if r.Blame != Nobody {
		s.Errors++
	}
	r.Tokens.Input.into(&s.Exact.Input, &s.Estimated.Input)
	r.Tokens.Output.into(&s.Exact.Output, &s.Estimated.Output)
	r.Tokens.Cached.into(&s.Exact.Cached, &s.Estimated.Cached)
	r.Tokens.Written.into(&s.Exact.Written, &s.Estimated.Written)
	r.Tokens.Reasoning.into(&s.Exact.Reasoning, &s.Estimated.Reasoning)
	if r.Tokens.Input.Source == Unknown || r.Tokens.Output.Source == Unknown {
		s.Unknown++
	}
	if !r.Cost.Known {
		s.CostUnknown++
		return
	}
	s.Cost = s.Cost.Plus(r.Cost.Amount)
	if r.Cost.Estimated {
		s.Guessed = s.Guessed.Plus(r.Cost.Amount)
	}
}

// into adds a number to the sum of its source.
func (c Count) into(exact, estimated *int64) {
	switch c.Source {
	case Exact:
		*exact += c.N
	case Estimated:
		*estimated += c.N
	}
}

// keySums are the sums of the keys that were used last, at most so many.
type keySums struct {
	most   int
	mu     sync.Mutex
	byKey  map[string]*list.Element // of *keyed
	recent list.List
}

type keyed struct {
	key  string
	sums Sums
}

func (k *keySums) add(r *Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := k.byKey[r.Key]
	if at == nil {
		if k.recent.Len() >= k.most {
			oldest := k.recent.Back()
			delete(k.byKey, keyedAt(oldest).key)
			k.recent.Remove(oldest)
		}
		at = k.recent.PushFront(&keyed{key: r.Key, sums: Sums{Since: r.Time}})
		k.byKey[r.Key] = at
	}
	k.recent.MoveToFront(at)
	keyedAt(at).sums.add(r)
}

func (k *keySums) of(key string) (Sums, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := k.byKey[key]
	if at == nil {
		return Sums{}, false
	}
	return keyedAt(at).sums, true
}

// keyedAt is what a place in the list holds: keys, and nothing else.
func keyedAt(place *list.Element) *keyed {
	k, _ := place.Value.(*keyed)
	return k
}
