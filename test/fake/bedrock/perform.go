package bedrock

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
	p.head()
	if stop.How != Finish && stop.Frames == 0 && stop.Bytes == 0 {
		return p.breakOff()
	}
	return p.body()
}

// head writes status and headers. They are sent at once unless the whole answer
// can go in one write.
func (p *performance) head() {
	header := p.w.Header()
	maps.Copy(header, p.answer.header)
	if !p.answer.stream() {
		header.Set("Content-Length", strconv.Itoa(len(p.answer.body)))
	}
	maps.Copy(header, p.behavior.Header)
	p.w.WriteHeader(p.answer.status)
	if p.hasty() {
		p.flush()
	}
}

// hasty says that every piece must leave at once.
func (p *performance) hasty() bool {
	return p.answer.stream() || p.behavior.ByteByByte || p.behavior.Break.How != Finish
}

// body writes the pieces in order, each after its wait, up to the break.
func (p *performance) body() outcome {
	pieces := p.answer.pieces(p.behavior.Together)
	stop := p.behavior.Break
	for i, piece := range pieces {
		if i > 0 && !p.wait(p.pause(i), p.behavior.Gate) {
			return p.server.blame()
		}
		last := stop.How != Finish && i == stop.Frames
		if last {
			piece = piece[:min(stop.Bytes, len(piece))]
		}
		if !p.write(piece) {
			return p.server.blame()
		}
		if last || stop.How != Finish && stop.Bytes == 0 && i+1 == stop.Frames {
			return p.breakOff()
		}
	}
	return answered
}

func (p *performance) pause(i int) time.Duration {
	if i == p.answer.metadata {
		return p.behavior.EventDelay + p.behavior.MetadataDelay
	}
	return p.behavior.EventDelay
}

func (p *performance) write(piece []byte) bool {
	step := max(len(piece), 1)
	if p.behavior.ByteByByte {
		step = 1
	}
	for start := 0; start < len(piece); start += step {
		if _, err := p.w.Write(piece[start : start+step]); err != nil {
			return false
		}
		if p.hasty() && !p.flush() {
			return false
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
		reset(connOf(p.r.Context()))
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
	_, err := c.Write(raw)
	_ = c.Close()
	if err != nil {
		return p.server.blame()
	}
	return broken
}
