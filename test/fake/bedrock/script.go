package bedrock

import (
	"strings"
	"sync"

	"github.com/tidwall/gjson"
)

// script is which behaviour the next request meets. The order: what Next promised,
// then what fits the model, the text, the request's own wish, and last Always.
type script struct {
	mu     sync.Mutex
	next   []Behavior
	always Behavior
	models map[string]Behavior
	texts  map[string]Behavior
}

// Always is how every request is answered that nothing else fits. The zero
// Behavior is the ordinary answer again.
func (s *Server) Always(b Behavior) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.always = b
}

// Next is how the next n requests are answered, after those already promised.
func (s *Server) Next(n int, b Behavior) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	for range n {
		s.script.next = append(s.script.next, b)
	}
}

// ForModel is how requests are answered whose path names this model, unescaped.
func (s *Server) ForModel(model string, b Behavior) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.models[model] = b
}

// ForText is how requests are answered whose last user text this is.
func (s *Server) ForText(text string, b Behavior) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.texts[text] = b
}

func (c *script) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next, c.always = nil, Behavior{}
	c.models, c.texts = map[string]Behavior{}, map[string]Behavior{}
}

// early is what is known before the body was read. Final says that the body will
// not change it.
func (c *script) early() (b Behavior, final bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.next) == 0 {
		return c.always, false
	}
	b, c.next = c.next[0], c.next[1:]
	return b, true
}

// late is what the request asks for; otherwise what was known early.
func (c *script) late(r Request, early Behavior) Behavior {
	text := lastUserText(r.JSON("messages"))
	if r.Operation == "invoke" {
		text = r.JSON("inputText").String()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.models[r.Model]; ok {
		return b
	}
	if b, ok := c.texts[text]; ok {
		return b
	}
	if b, ok := wished(text); ok {
		return b
	}
	found := early
	r.JSON("requestMetadata").ForEach(func(_, value gjson.Result) bool {
		b, ok := wished(value.String())
		if ok {
			found = b
		}
		return !ok
	})
	return found
}

// wished is the behaviour a text begins with: "fake:cut and more".
func wished(text string) (Behavior, bool) {
	rest, ok := strings.CutPrefix(text, "fake:")
	if !ok {
		return Behavior{}, false
	}
	word, _, _ := strings.Cut(rest, " ")
	return Named(word)
}
