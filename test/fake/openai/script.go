package openai

import (
	"net/http"
	"strings"
)

// The kinds of cases. The order: what Next promised, then what fits the key, the model,
// the user, the text, the request's own wish, and last Always.
const (
	ofKey   = "key"
	ofModel = "model"
	ofUser  = "user"
	ofText  = "text"
)

// Always is how every request is answered that nothing else fits. The zero
// Behavior is the ordinary answer again.
func (s *Server) Always(b Behavior) { s.script.Always(b) }

// Next is how the next n requests are answered, after those already promised. The list
// of models is not one of them: a gate asks for it whenever it likes, to see whether the
// provider is there.
func (s *Server) Next(n int, b Behavior) { s.script.Next(n, b) }

// ForModel is how requests are answered whose body names this model.
func (s *Server) ForModel(model string, b Behavior) { s.script.For(ofModel, model, b) }

// ForUser is how requests are answered whose body names this user.
func (s *Server) ForUser(user string, b Behavior) { s.script.For(ofUser, user, b) }

// ForText is how requests are answered in which this is what the user said last.
func (s *Server) ForText(text string, b Behavior) { s.script.For(ofText, text, b) }

// ForKey is how requests with this bearer token are answered, but for the list of models.
func (s *Server) ForKey(key string, b Behavior) { s.script.For(ofKey, key, b) }

// early is what is known before the body was read. Final says that the body will
// not change it.
func (s *Server) early(r *http.Request) (b Behavior, final bool) {
	if asksForModels(r) {
		return s.script.Usual(), false
	}
	if b, final = s.script.Take(); final {
		return b, true
	}
	key := func() string { return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") }
	if b, ok := s.script.Find(ofKey, key); ok {
		return b, true
	}
	return b, false
}

func asksForModels(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/models")
}

// late is what the body asks for; otherwise what was known early.
func (s *Server) late(r Request, early Behavior) Behavior {
	user := r.JSON("user").String()
	if b, ok := s.script.Find(ofModel, func() string { return r.JSON("model").String() }); ok {
		return b
	}
	if b, ok := s.script.Find(ofUser, func() string { return user }); ok {
		return b
	}
	if b, ok := s.script.Find(ofText, func() string { return lastText(r) }); ok {
		return b
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
