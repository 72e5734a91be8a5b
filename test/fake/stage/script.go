package stage

import "sync"

// Script is which behaviour B the next request meets: one promised to the next few,
// one for a case, or the usual. In which order those are asked is the fake's matter.
// The zero Script has nothing in it but the zero B.
type Script[B any] struct {
	mu    sync.Mutex
	next  []B
	usual B
	cases map[string]map[string]B // by kind and name
}

// Always sets the usual behaviour.
func (c *Script[B]) Always(b B) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.usual = b
}

// Next promises a behaviour to the next n requests, after those already promised.
func (c *Script[B]) Next(n int, b B) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		c.next = append(c.next, b)
	}
}

// For sets the behaviour of a case: of what kind it is ("model"), and which one.
func (c *Script[B]) For(kind, name string, b B) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cases == nil {
		c.cases = map[string]map[string]B{}
	}
	if c.cases[kind] == nil {
		c.cases[kind] = map[string]B{}
	}
	c.cases[kind][name] = b
}

// Reset forgets all of it.
func (c *Script[B]) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var none B
	c.next, c.usual, c.cases = nil, none, nil
}

// Take is what was promised to the request that comes now; promised is false, and the
// behaviour the usual, if nothing was.
func (c *Script[B]) Take() (b B, promised bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.next) == 0 {
		return c.usual, false
	}
	b, c.next = c.next[0], c.next[1:]
	return b, true
}

// Usual is the usual behaviour.
func (c *Script[B]) Usual() B {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usual
}

// Find is the behaviour of a case, if it has one. The name is asked for only if there
// are cases of this kind, and without the lock, because it may lie in a long body.
func (c *Script[B]) Find(kind string, name func() string) (b B, ok bool) {
	if !c.knows(kind) {
		return b, false
	}
	wanted := name()
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok = c.cases[kind][wanted]
	return b, ok
}

func (c *Script[B]) knows(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.cases[kind]) > 0
}
