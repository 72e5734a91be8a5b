package stage

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/postern-proxy/postern/test/authority"
)

// door is the listener's side: it accepts, greets, shakes hands, and hands what is
// left to the HTTP server, for which it is the listener.
type door struct {
	address   net.Addr
	tls       *tls.Config
	authority *authority.Authority
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

func openDoor(wanted Opening) (*door, error) {
	d := &door{ready: make(chan net.Conn), done: make(chan struct{}), wires: map[*wire]struct{}{}}
	if wanted.TLS {
		if err := d.certify(wanted); err != nil {
			return nil, fmt.Errorf("make a certificate: %w", err)
		}
	}
	d.listener = wanted.Listener
	if d.listener == nil {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		d.listener = listener
	}
	d.address = d.listener.Addr()
	listener := d.listener
	d.work.Go(func() { d.accept(listener) })
	return d, nil
}

func (d *door) certify(wanted Opening) (err error) {
	d.authority = wanted.Authority
	if d.authority == nil {
		if d.authority, err = authority.Make(); err != nil {
			return err
		}
	}
	certificate, err := d.authority.Certificate(append([]string{"localhost", "127.0.0.1", "::1"}, wanted.Hosts...)...)
	if err != nil {
		return err
	}
	d.tls = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	if wanted.NoHTTP2 {
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
			return fmt.Errorf("listen again: %w", err)
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
