package stage

import (
	"maps"
	"net"
	"net/http"
	"time"
)

// player is a performance under way.
type player struct {
	Performance

	w    http.ResponseWriter
	r    *http.Request
	done <-chan struct{} // the stage closes
}

func (p *player) play() Outcome {
	switch {
	case !p.wait(p.FirstByteDelay, nil):
		return blame(p.done)
	case p.Raw != nil:
		return p.say()
	case p.How != Finish && p.After == BeforeHead:
		return p.breakOff()
	}
	if w := wireOf(p.conn()); p.Trickle && w != nil {
		w.trickle.Store(true)
		defer func() { w.trickle.Store(false) }()
	}
	p.head()
	if p.How != Finish && p.After == 0 {
		return p.breakOff()
	}
	return p.body()
}

func (p *player) conn() net.Conn { return connOf(p.r.Context()) }

// head writes status and headers. They are sent at once unless the whole answer
// can go in one write.
func (p *player) head() {
	maps.Copy(p.w.Header(), p.Header)
	p.w.WriteHeader(p.Status)
	if p.hasty() {
		p.flush()
	}
}

// hasty says that every piece must leave at once.
func (p *player) hasty() bool { return p.Stream || p.ByteByByte || p.How != Finish }

// body writes the pieces in order, each after its wait, up to the break.
func (p *player) body() Outcome {
	for i, piece := range p.Pieces {
		if i > 0 && !p.wait(p.Pause(i), p.Gate) || !p.write(piece) {
			return blame(p.done)
		}
		if p.How != Finish && p.After == i+1 {
			return p.breakOff()
		}
	}
	if p.ByteByByte { // net/http writes what is left only after the handler
		p.flush()
	}
	return Answered
}

func (p *player) write(piece []byte) bool {
	step := max(len(piece), 1)
	if p.ByteByByte {
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

func (p *player) flush() bool {
	return http.NewResponseController(p.w).Flush() == nil && p.r.Context().Err() == nil
}

// wait gives false if the client or the server went away meanwhile.
func (p *player) wait(pause time.Duration, gate <-chan struct{}) bool {
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.r.Context().Done():
			return false
		case <-p.done:
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
	case <-p.done:
	}
	return false
}

// breakOff ends the answer where it is. Panicking with ErrAbortHandler, which the
// stage does, is net/http's way to close without finishing.
func (p *player) breakOff() Outcome {
	switch p.How {
	case Reset:
		if w := wireOf(p.conn()); w != nil {
			w.reset()
		}
	case Stall:
		p.wait(0, make(chan struct{}))
		return blame(p.done)
	case Finish, Close:
	}
	return Broken
}

// say writes bytes of no protocol to the connection and closes it. With HTTP/2
// they come between two frames.
func (p *player) say() Outcome {
	c := p.conn()
	if hijacker, ok := p.w.(http.Hijacker); ok {
		if hijacked, _, err := hijacker.Hijack(); err == nil {
			c = hijacked
		}
	}
	_, err := c.Write(p.Raw)
	_ = c.Close()
	if err != nil {
		return blame(p.done)
	}
	return Broken
}
