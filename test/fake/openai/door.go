package openai

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// Greeting is what happens to a connection before a byte of it is read.
type Greeting int

// The greetings.
const (
	Welcome   Greeting = iota // serve it
	HangUp                    // close it (FIN)
	SlamDoor                  // reset it (RST)
	Babble                    // send bytes that are not HTTP, then close it
	SayNought                 // leave it open, read nothing, answer nothing
)

const handshakeLimit = 10 * time.Second

// babble is what a broken peer might send: not HTTP, not TLS.
var babble = []byte("\x00\x01\x02 this is not the protocol you are looking for \xff\xfe\r\n\r\n")

// door is the listener's side: it accepts, greets, shakes hands, and hands what is
// left to the HTTP server, for which it is the listener.
type door struct {
	address   net.Addr
	tls       *tls.Config
	authority *Authority
	ready     chan net.Conn
	done      chan struct{}
	work      sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while refusing
	wires    map[*wire]struct{}
	greeting Greeting
	accepted int
	shutting bool
}

func openDoor(wanted settings) (*door, error) {
	d := &door{ready: make(chan net.Conn), done: make(chan struct{}), wires: map[*wire]struct{}{}}
	if wanted.tls {
		if err := d.certify(wanted); err != nil {
			return nil, err
		}
	}
	d.listener = wanted.listener
	if d.listener == nil {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		d.listener = listener
	}
	d.address = d.listener.Addr()
	listener := d.listener
	d.work.Go(func() { d.accept(listener) })
	return d, nil
}

func (d *door) certify(wanted settings) (err error) {
	d.authority = wanted.authority
	if d.authority == nil {
		if d.authority, err = NewAuthority(); err != nil {
			return err
		}
	}
	certificate, err := d.authority.Issue(append([]string{"localhost", "127.0.0.1", "::1"}, wanted.hosts...)...)
	if err != nil {
		return err
	}
	d.tls = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	if wanted.noHTTP2 {
		d.tls.NextProtos = []string{"http/1.1"}
	}
	return nil
}

// accept runs until its listener is closed.
func (d *door) accept(listener net.Listener) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		w := &wire{Conn: c, forget: d.forget}
		d.mu.Lock()
		d.accepted++
		greeting, shutting := d.greeting, d.shutting
		d.wires[w] = struct{}{}
		if !shutting {
			d.work.Go(func() { d.receive(w, greeting) })
		}
		d.mu.Unlock()
		if shutting {
			_ = w.Close()
		}
	}
}

// receive greets one connection. Errors end the connection and nothing else.
func (d *door) receive(w *wire, greeting Greeting) {
	switch greeting {
	case HangUp:
		_ = w.Close()
	case SlamDoor:
		w.reset()
	case Babble:
		_, _ = w.Write(babble)
		_ = w.Close()
	case SayNought: // shut and drop close it
	case Welcome:
		c, err := d.shakeHands(w)
		if err != nil {
			_ = w.Close()
			return
		}
		select {
		case d.ready <- c:
		case <-d.done:
			_ = w.Close()
		}
	}
}

// shakeHands gives the connection the HTTP server reads: a *tls.Conn for HTTP/2,
// because net/http asks for that type, and one that listens to heads otherwise.
func (d *door) shakeHands(w *wire) (net.Conn, error) {
	if d.tls == nil {
		return &ear{Conn: w, wire: w}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeLimit)
	defer cancel()
	c := tls.Server(w, d.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		return c, nil
	}
	return &ear{Conn: c, wire: w}, nil
}

// Accept, Close and Addr make the door a net.Listener for the HTTP server. Close
// does nothing: the HTTP server must not end what Resume may open again.
func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.ready:
		return c, nil
	case <-d.done:
		return nil, net.ErrClosed
	}
}

func (d *door) Close() error   { return nil }
func (d *door) Addr() net.Addr { return d.address }

func (d *door) greet(g Greeting) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.greeting = g
}

func (d *door) refuse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != nil {
		_ = d.listener.Close()
		d.listener = nil
	}
}

// resume tries for two seconds: a connection of somebody else may hold the port
// for a moment.
func (d *door) resume() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shutting || d.listener != nil {
		return nil
	}
	deadline := time.Now().Add(2 * time.Second)
	for {
		listener, err := net.Listen(d.address.Network(), d.address.String())
		if err == nil {
			d.listener = listener
			d.work.Go(func() { d.accept(listener) })
			return nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (d *door) forget(w *wire) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.wires, w)
}

func (d *door) open() []*wire {
	d.mu.Lock()
	defer d.mu.Unlock()
	wires := make([]*wire, 0, len(d.wires))
	for w := range d.wires {
		wires = append(wires, w)
	}
	return wires
}

func (d *door) drop() {
	for _, w := range d.open() {
		w.reset()
	}
}

func (d *door) shut() {
	d.mu.Lock()
	d.shutting = true
	d.mu.Unlock()
	d.refuse()
	close(d.done)
	for _, w := range d.open() {
		_ = w.Close()
	}
	d.work.Wait()
}

func (d *door) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accepted
}
