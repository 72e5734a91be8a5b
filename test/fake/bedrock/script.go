package bedrock

import (
	"strings"

	"github.com/tidwall/gjson"
)

// The kinds of cases. The order: what Next promised, then what fits the model, the text,
// the request's own wish, and last Always.
const (
	ofModel = "model"
	ofText  = "text"
)

// Always is how every request is answered that nothing else fits. The zero
// Behavior is the ordinary answer again.
func (s *Server) Always(b Behavior) { s.script.Always(b) }

// Next is how the next n requests are answered, after those already promised.
func (s *Server) Next(n int, b Behavior) { s.script.Next(n, b) }

// ForModel is how requests are answered whose path names this model, unescaped.
func (s *Server) ForModel(model string, b Behavior) { s.script.For(ofModel, model, b) }

// ForText is how requests are answered whose last user text this is.
func (s *Server) ForText(text string, b Behavior) { s.script.For(ofText, text, b) }

// late is what the request asks for; otherwise what was known before its body was read.
func (s *Server) late(r Request, early Behavior) Behavior {
	text := lastUserText(r.JSON("messages"))
	if r.Operation == "invoke" {
		text = r.JSON("inputText").String()
	}
	if b, ok := s.script.Find(ofModel, func() string { return r.Model }); ok {
		return b
	}
	if b, ok := s.script.Find(ofText, func() string { return text }); ok {
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
