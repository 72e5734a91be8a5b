package stage

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"

	"github.com/postern-proxy/postern/test/authority"
)

// Opening is what a stage listens on, and how.
type Opening struct {
	Listener  net.Listener // is the stage's from then on; nil: a free port of the loopback interface
	TLS       bool
	Authority *authority.Authority // of the certificate; nil: a new one
	Hosts     []string             // in the certificate, beside localhost, 127.0.0.1 and ::1
	NoHTTP2   bool
}

// Stage is the server of one fake, from Open until Close. R is what the fake remembers
// of a request.
type Stage[R any] struct {
	door   *door
	http   *http.Server
	attend func(*Visit[R]) Outcome
	record record[R]

	done     chan struct{}
	closing  sync.Once
	serving  sync.WaitGroup
	handlers sync.WaitGroup
}

// Open starts a stage on which attend answers each request; it may be called before
// Open has returned. The errors are those of listening and of making certificates.
func Open[R any](o Opening, attend func(*Visit[R]) Outcome) (*Stage[R], error) {
	door, err := openDoor(o)
	if err != nil {
		return nil, err
	}
	s := &Stage[R]{door: door, attend: attend, done: make(chan struct{})}
	s.http = &http.Server{
		Handler:        s,
		ConnState:      rewindWhenIdle,
		ConnContext:    func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		MaxHeaderBytes: 4 << 20,
		TLSConfig:      door.tls.Clone(),           // net/http adds to it while the door shakes hands
		ErrorLog:       log.New(io.Discard, "", 0), // broken peers are what a fake is for
	}
	s.serving.Go(func() { _ = s.http.Serve(door) }) // it ends by Close alone: the door gives no other error
	return s, nil
}

// Close ends the listener, all connections and all answers under way, and waits
// for them. It may be called again.
func (s *Stage[R]) Close() {
	s.closing.Do(func() {
		close(s.done)
		s.door.shut()
		_ = s.http.Close() // the door's errors are of no interest at the end
	})
	s.serving.Wait()
	s.handlers.Wait()
}

// URL is the server's base, without a path: "http://127.0.0.1:40001".
func (s *Stage[R]) URL() string {
	if s.door.tls != nil {
		return "https://" + s.Address()
	}
	return "http://" + s.Address()
}

// Address is host:port, the same before and after Refuse and Resume.
func (s *Stage[R]) Address() string { return s.door.address.String() }

// CA is the PEM certificate of the authority to trust; nil without TLS.
func (s *Stage[R]) CA() []byte {
	if s.door.authority == nil {
		return nil
	}
	return s.door.authority.PEM()
}

// Refuse closes the listener, so that new connections are refused, and every
// connection as soon as it is idle.
func (s *Stage[R]) Refuse() {
	s.http.SetKeepAlivesEnabled(false)
	s.door.refuse()
}

// Resume listens on the same address again. It fails if somebody else took it.
func (s *Stage[R]) Resume() error {
	if err := s.door.resume(); err != nil {
		return err
	}
	s.http.SetKeepAlivesEnabled(true)
	return nil
}

// Drop resets every connection there is, in use or not, and keeps listening.
func (s *Stage[R]) Drop() { s.door.drop() }

// Greet says what happens to connections accepted from now on, before a byte of
// them is read.
func (s *Stage[R]) Greet(g Greeting) { s.door.greet(g) }

type connKey struct{}

func connOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}
