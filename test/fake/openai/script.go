package openai

import (
	"net/http"
	"strings"
	"sync"
)

// script is which behaviour the next request meets. The order: what Next promised,
// then what fits the key, the model, the user, the text, the request's own wish, and last
// Always.
type script struct {
	mu     sync.Mutex
	next   []Behavior
	always Behavior
	models map[string]Behavior
	users  map[string]Behavior
	texts  map[string]Behavior
	keys   map[string]Behavior
}

// Always is how every request is answered that nothing else fits. The zero
// Behavior is the ordinary answer again.
func (s *Server) Always(b Behavior) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.always = b
}

// Next is how the next n requests are answered, after those already promised. The list
// of models is not one of them: a gate asks for it whenever it likes, to see whether the
// provider is there.
func (s *Server) Next(n int, b Behavior) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	for range n {
		s.script.next = append(s.script.next, b)
	}
}

// ForModel is how requests are answered whose body names this model.
func (s *Server) ForModel(model string, b Behavior) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.models[model] = b
}

// ForUser is how requests are answered whose body names this user.
func (s *Server) ForUser(user string, b Behavior) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.users[user] = b
}

// ForText is how requests are answered in which this is what the user said last.
func (s *Server) ForText(text string, b Behavior) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.texts[text] = b
}

// ForKey is how requests with this bearer token are answered, but for the list of models.
func (s *Server) ForKey(key string, b Behavior) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.keys[key] = b
}

func (c *script) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next, c.always = nil, Behavior{}
	c.models, c.users = map[string]Behavior{}, map[string]Behavior{}
	c.texts, c.keys = map[string]Behavior{}, map[string]Behavior{}
}

// early is what is known before the body was read. Final says that the body will
// not change it.
func (c *script) early(r *http.Request) (b Behavior, final bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if asksForModels(r) {
		return c.always, false
	}
	if len(c.next) == 0 {
		if b, ok := c.keys[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]; ok {
			return b, true
		}
		return c.always, false
	}
	b, c.next = c.next[0], c.next[1:]
	return b, true
}

func asksForModels(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/models")
}

// late is what the body asks for; otherwise what was known early.
func (c *script) late(r Request, early Behavior) Behavior {
	model, user := r.JSON("model").String(), r.JSON("user").String()
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.models[model]; ok {
		return b
	}
	if b, ok := c.users[user]; ok {
		return b
	}
	if len(c.texts) > 0 {
		if b, ok := c.texts[lastText(r)]; ok {
			return b
		}
	}
	if word, ok := strings.CutPrefix(user, "fake:"); ok {
		if b, ok := Named(word); ok {
			return b
		}
	}
	return early
}

// lastText is what the user said last, whatever the endpoint calls it.
func lastText(r Request) string {
	switch {
	case r.JSON("messages").Exists():
		return textOf(lastUser(r.JSON("messages")))
	case r.JSON("prompt").Exists():
		return textOf(r.JSON("prompt"))
	}
	return textOf(lastSaid(r.JSON("input")))
}
