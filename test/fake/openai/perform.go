package openai

import (
	"maps"
	"net/http"
	"strconv"
	"time"
)

// performance is the sending of one answer, as its behaviour wants it.
type performance struct {
	server   *Server
	w        http.ResponseWriter
	r        *http.Request
	behavior Behavior
	answer   answer
	sent     int // bytes of the body
}

func (p *performance) run() outcome {
	if !p.wait(p.behavior.FirstByteDelay, nil) {
		return p.server.blame()
	}
	if p.behavior.Raw != nil {
		return p.say(p.behavior.Raw)
	}
	stop := p.behavior.Break
	if stop.How != Finish && stop.Early {
		return p.breakOff()
	}
	if w := wireOf(connOf(p.r.Context())); p.behavior.ByteByByte && w != nil {
		w.trickle.Store(true)
		defer func() { w.trickle.Store(false) }()
	}
	p.head()
	if stop.How != Finish && stop.Events == 0 && stop.Bytes == 0 {
		return p.breakOff()
	}
	return p.body()
}

// head writes status and headers. They are sent at once unless the whole answer
// can go in one write.
func (p *performance) head() {
	header := p.w.Header()
	maps.Copy(header, p.answer.header)
	switch {
	case p.behavior.CloseDelimited:
		header.Set("Connection", "close")
		header.Set("Transfer-Encoding", "identity") // net/http's word for "no chunks"; it is not sent
	case p.answer.events == nil:
		header.Set("Content-Length", strconv.Itoa(len(p.answer.body)))
	}
	maps.Copy(header, p.behavior.Header)
	p.w.WriteHeader(p.answer.status)
	if p.answer.events != nil || p.behavior.Break.How != Finish || p.behavior.ByteByByte {
		p.flush()
	}
}

// body writes the pieces in order, each after its wait.
func (p *performance) body() outcome {
	stop := p.behavior.Break
	pieces := p.answer.events
	if pieces == nil {
		pieces = [][]byte{p.answer.body}
	}
	for i, piece := range pieces {
		if i > 0 && !p.wait(p.behavior.EventDelay, p.behavior.Gate) {
			return p.server.blame()
		}
		last := false
		if stop.How != Finish && stop.Bytes > 0 && p.sent+len(piece) >= stop.Bytes {
			piece, last = piece[:stop.Bytes-p.sent], true
		}
		if !p.write(piece) {
			return p.server.blame()
		}
		if last || stop.How != Finish && stop.Events == i+1 {
			return p.breakOff()
		}
	}
	if p.behavior.ByteByByte { // net/http writes what is left only after the handler
		p.flush()
	}
	return answered
}

func (p *performance) write(piece []byte) bool {
	step := len(piece)
	if p.behavior.ByteByByte {
		step = 1
	}
	for start := 0; start < len(piece); start += step {
		n, err := p.w.Write(piece[start : start+step])
		p.sent += n
		if err != nil {
			return false
		}
		if p.answer.events != nil || p.behavior.ByteByByte || p.behavior.Break.How != Finish {
			if !p.flush() {
				return false
			}
		}
	}
	return true
}

func (p *performance) flush() bool {
	return http.NewResponseController(p.w).Flush() == nil && p.r.Context().Err() == nil
}

// wait gives false if the client or the server went away meanwhile.
func (p *performance) wait(pause time.Duration, gate <-chan struct{}) bool {
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.r.Context().Done():
			return false
		case <-p.server.done:
			return false
		}
	}
	if gate == nil {
		return true
	}
	select {
	case <-gate:
		return true
	case <-p.r.Context().Done():
	case <-p.server.done:
	}
	return false
}

// breakOff ends the answer where it is. Panicking with ErrAbortHandler, which the
// caller does, is net/http's way to close without finishing.
func (p *performance) breakOff() outcome {
	switch p.behavior.Break.How {
	case Reset:
		if w := wireOf(connOf(p.r.Context())); w != nil {
			w.reset()
		}
	case Stall:
		p.wait(0, make(chan struct{}))
		return p.server.blame()
	case Finish, Close:
	}
	return broken
}

// say writes bytes of no protocol to the connection and closes it. With HTTP/2
// they come between two frames.
func (p *performance) say(raw []byte) outcome {
	c := connOf(p.r.Context())
	if hijacker, ok := p.w.(http.Hijacker); ok {
		if hijacked, _, err := hijacker.Hijack(); err == nil {
			c = hijacked
		}
	}
	if _, err := c.Write(raw); err != nil {
		return p.server.blame()
	}
	_ = c.Close()
	return broken
}
