package stage

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// wire is a TCP connection that can be reset, and can be made to send its bytes
// one at a time, each with a write of its own.
type wire struct {
	net.Conn
	forget  func(*wire)
	trickle atomic.Bool
	closing sync.Once
	err     error
}

func (w *wire) Write(p []byte) (int, error) {
	if !w.trickle.Load() {
		return w.Conn.Write(p)
	}
	for i := range p {
		if _, err := w.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func (w *wire) Close() error {
	w.closing.Do(func() {
		w.forget(w)
		w.err = w.Conn.Close()
	})
	return w.err
}

// CloseWrite lets net/http end a connection without losing what it wrote.
func (w *wire) CloseWrite() error {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// reset closes with RST in place of FIN.
func (w *wire) reset() {
	if tcp, ok := w.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = w.Close()
}

// wireOf is the TCP connection below what the HTTP server was given.
func wireOf(c net.Conn) *wire {
	switch c := c.(type) {
	case *ear:
		return c.wire
	case *tls.Conn:
		w, _ := c.NetConn().(*wire)
		return w
	}
	return nil
}

// stateOf is the TLS state of a connection; nil without TLS.
func stateOf(c net.Conn) *tls.ConnectionState {
	if e, ok := c.(*ear); ok {
		c = e.Conn
	}
	if t, ok := c.(*tls.Conn); ok {
		state := t.ConnectionState()
		return &state
	}
	return nil
}

// ear is an HTTP/1 connection that keeps the bytes of the current request's head,
// because net/http forgets order and case of the headers.
type ear struct {
	net.Conn
	wire *wire

	mu    sync.Mutex
	heard []byte
	deaf  bool // the head was taken; only the last byte is kept
}

func (e *ear) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	if n > 0 && e.deaf {
		e.heard = append(e.heard[:0], p[n-1])
	} else {
		e.heard = append(e.heard, p[:n]...)
	}
	return n, err
}

func (e *ear) CloseWrite() error {
	if half, ok := e.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// rewindWhenIdle makes the ear listen to the next head. The last byte stays: while
// it waits for a client to go away, net/http may have read the first byte of the
// next request already.
func rewindWhenIdle(c net.Conn, state http.ConnState) {
	e, ok := c.(*ear)
	if !ok || state != http.StateIdle {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.heard) > 1 {
		e.heard = append(e.heard[:0], e.heard[len(e.heard)-1])
	}
	e.deaf = false
}

// take gives the header lines of the request being served, as they came.
func (e *ear) take(r *http.Request) []HeaderLine {
	e.mu.Lock()
	defer e.mu.Unlock()
	start := bytes.Index(e.heard, []byte(r.Method+" "+r.RequestURI+" "+r.Proto+"\r\n"))
	if e.deaf || start < 0 {
		return nil
	}
	head, _, _ := bytes.Cut(e.heard[start:], []byte("\r\n\r\n"))
	var lines []HeaderLine
	for _, line := range strings.Split(string(head), "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ":")
		lines = append(lines, HeaderLine{Name: name, Value: strings.Trim(value, " \t")})
	}
	e.heard, e.deaf = e.heard[len(e.heard)-1:], true
	return lines
}
