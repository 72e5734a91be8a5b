package openai

import (
	"errors"
	"io"
	"net/http"
	"time"
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
	how := s.serve(w, r)
	s.record.end(how)
	if how != answered {
		panic(http.ErrAbortHandler)
	}
}

// enter counts a handler in, unless the server is closing.
func (s *Server) enter() bool {
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	if s.door.shutting {
		return false
	}
	s.handlers.Add(1)
	return true
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) outcome {
	seen := s.observe(r)
	behavior, final := s.script.early(r)
	var body []byte
	if !behavior.IgnoreBody {
		body, seen.BodyError = s.readBody(r, behavior.ReadPause)
	}
	full := seen.digest(body, 0)
	s.record.keep(seen.digest(body, s.keep))
	if seen.BodyError != nil {
		return s.blame()
	}
	if !final {
		behavior = s.script.late(full, behavior)
	}
	p := performance{server: s, w: w, r: r, behavior: behavior, answer: s.answer(full, behavior)}
	if s.told != nil {
		s.told(full, p.answer.said())
	}
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

// readBody reads all of the body, with a pause before each piece if one is wanted.
// It gives what it got even if that was not all.
func (s *Server) readBody(r *http.Request, pause time.Duration) ([]byte, error) {
	if pause == 0 {
		return io.ReadAll(r.Body)
	}
	var body []byte
	piece := make([]byte, 16<<10)
	for {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.done:
			timer.Stop()
			return body, http.ErrServerClosed
		}
		n, err := io.ReadFull(r.Body, piece)
		body = append(body, piece[:n]...)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && int64(len(body)) == r.ContentLength:
			return body, nil
		case err != nil:
			return body, err
		}
	}
}
