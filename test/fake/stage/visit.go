package stage

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// Outcome is how one request ended.
type Outcome int

// The outcomes.
const (
	Answered Outcome = iota
	Broken           // by a behaviour
	Aborted          // by the client
	Stopped          // by Close
)

// Visit is one request while it is answered.
type Visit[R any] struct {
	Seen Request       // what is known of it; its body is empty before Read
	HTTP *http.Request // itself; its body is read by Read

	w     http.ResponseWriter
	stage *Stage[R]
}

// ServeHTTP answers one request. It is exported because net/http calls it; tests
// go through URL.
func (s *Stage[R]) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler) // closing: net/http ends the connection without a word
	}
	defer s.handlers.Done()
	how := s.attend(&Visit[R]{Seen: observe(r, s.record.begin()), HTTP: r, w: w, stage: s})
	s.record.end(how)
	if how != Answered {
		panic(http.ErrAbortHandler)
	}
}

// enter counts a handler in, unless the stage is closing.
func (s *Stage[R]) enter() bool {
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	if s.door.shutting {
		return false
	}
	s.handlers.Add(1)
	return true
}

// Keep remembers a request.
func (v *Visit[R]) Keep(r R) { v.stage.record.keep(r) }

// Perform sends an answer.
func (v *Visit[R]) Perform(p Performance) Outcome {
	return (&player{Performance: p, w: v.w, r: v.HTTP, done: v.stage.done}).play()
}

// Blame says who ended a request that was not answered.
func (v *Visit[R]) Blame() Outcome { return blame(v.stage.done) }

func blame(done <-chan struct{}) Outcome {
	select {
	case <-done:
		return Stopped
	default:
		return Aborted
	}
}

// Read reads all of the body into Seen, with a pause before each piece if one is
// wanted; or as much as there was, and why there was no more.
func (v *Visit[R]) Read(pause time.Duration) {
	body, err := v.read(pause)
	v.Seen = v.Seen.with(body)
	v.Seen.BodyError = err
}

func (v *Visit[R]) read(pause time.Duration) ([]byte, error) {
	if pause == 0 {
		return io.ReadAll(v.HTTP.Body)
	}
	var body []byte
	piece := make([]byte, 16<<10)
	for {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-v.stage.done:
			timer.Stop()
			return body, http.ErrServerClosed
		}
		n, err := io.ReadFull(v.HTTP.Body, piece)
		body = append(body, piece[:n]...)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && int64(len(body)) == v.HTTP.ContentLength:
			return body, nil
		case err != nil:
			return body, err
		}
	}
}
