package openai

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Server is one provider. It answers from New until Close.
type Server struct {
	door   *door
	http   *http.Server
	key    string
	keep   int
	script script
	told   func(Request, Said)
	record record

	done     chan struct{}
	closing  sync.Once
	serving  sync.WaitGroup
	handlers sync.WaitGroup
}

// Start starts a server that is closed when the test ends.
func Start(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	server, err := New(options...)
	if err != nil {
		tb.Fatalf("fake provider: %v", err)
	}
	tb.Cleanup(server.Close)
	return server
}

// StartTLS is Start with a certificate of an authority of its own, for the given
// host names and addresses; see WithTLS.
func StartTLS(tb testing.TB, hosts ...string) *Server {
	tb.Helper()
	return Start(tb, WithTLS(nil, hosts...))
}

// New starts a server on a free port of the loopback interface, or on the listener
// among the options. Its errors are those of listening and of making certificates.
func New(options ...Option) (*Server, error) {
	var wanted settings
	for _, option := range options {
		option(&wanted)
	}
	door, err := openDoor(wanted)
	if err != nil {
		return nil, fmt.Errorf("open the door: %w", err)
	}
	s := &Server{door: door, key: wanted.key, keep: wanted.keep, told: wanted.witness, done: make(chan struct{})}
	s.script.reset()
	s.http = &http.Server{
		Handler:        s,
		ConnState:      rewindWhenIdle,
		ConnContext:    func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		MaxHeaderBytes: 4 << 20,
		TLSConfig:      door.tls.Clone(),          // net/http adds to it while the door shakes hands
		ErrorLog:       log.New(discard{}, "", 0), // broken peers are what this server is for
	}
	s.serving.Go(func() { _ = s.http.Serve(door) }) // it ends by Close alone: the door gives no other error
	return s, nil
}

// Close ends the listener, all connections and all answers under way, and waits
// for them.
func (s *Server) Close() {
	s.closing.Do(func() {
		close(s.done)
		s.door.shut()
		_ = s.http.Close() // the door's errors are of no interest at the end
	})
	s.serving.Wait()
	s.handlers.Wait()
}

// URL is the server's base, without a path: "http://127.0.0.1:40001". An SDK's
// base URL is URL() + "/v1".
func (s *Server) URL() string {
	if s.door.tls != nil {
		return "https://" + s.Address()
	}
	return "http://" + s.Address()
}

// Address is host:port, the same before and after Refuse and Resume.
func (s *Server) Address() string { return s.door.address.String() }

// CA is the PEM certificate of the authority to trust; nil without TLS.
func (s *Server) CA() []byte {
	if s.door.authority == nil {
		return nil
	}
	return s.door.authority.PEM()
}

// Refuse closes the listener, so that new connections are refused, and every
// connection as soon as it is idle.
func (s *Server) Refuse() {
	s.http.SetKeepAlivesEnabled(false)
	s.door.refuse()
}

// Resume listens on the same address again. It fails if somebody else took it.
func (s *Server) Resume() error {
	if err := s.door.resume(); err != nil {
		return err
	}
	s.http.SetKeepAlivesEnabled(true)
	return nil
}

// Drop resets every connection there is, in use or not, and keeps listening.
func (s *Server) Drop() { s.door.drop() }

// Greet says what happens to connections accepted from now on, before a byte of
// them is read.
func (s *Server) Greet(g Greeting) { s.door.greet(g) }

type connKey struct{}

func connOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
