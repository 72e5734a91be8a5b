package bedrock

import (
	"io"
	"net/http"
)

// outcome is how one request ended.
type outcome int

const (
	answered outcome = iota
	broken           // by a Behavior
	aborted          // by the client
	stopped          // by Close
)

// ServeHTTP answers one request. It is exported because net/http calls it; tests
// go through URL.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler) // closing: net/http ends the connection without a word
	}
	defer s.handlers.Done()
	how := s.attend(w, r)
	s.record.end(how)
	if how != answered {
		panic(http.ErrAbortHandler)
	}
}

// enter counts a handler in, unless the server is closing.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shutting {
		return false
	}
	s.handlers.Add(1)
	return true
}

func (s *Server) attend(w http.ResponseWriter, r *http.Request) outcome {
	seen := s.observe(r)
	behavior, final := s.script.early()
	if !behavior.IgnoreBody {
		body, err := io.ReadAll(r.Body)
		seen.digest(body)
		seen.BodyError = err
	}
	if seen.BodyError != nil {
		s.record.keep(seen)
		return s.blame()
	}
	if !final {
		behavior = s.script.late(seen, behavior)
	}
	answer := s.answer(&seen, behavior)
	s.record.keep(seen)
	p := performance{server: s, w: w, r: r, behavior: behavior, answer: answer}
	return p.run()
}

// blame says who ended a request that was not answered.
func (s *Server) blame() outcome {
	select {
	case <-s.done:
		return stopped
	default:
		return aborted
	}
}
