package bedrock

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-proxy/postern/test/fake/openai"
)

// Server is one region of the service. It answers from New until Close.
type Server struct {
	http      *http.Server
	address   net.Addr
	authority *openai.Authority // nil without TLS
	gate      gate
	models    map[string]string
	script    script
	record    record

	done     chan struct{}
	closing  sync.Once
	serving  sync.WaitGroup
	handlers sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while refusing
	open     map[net.Conn]struct{}
	shutting bool
}

// Start starts a server that is closed when the test ends.
func Start(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	server, err := New(options...)
	if err != nil {
		tb.Fatalf("fake Bedrock: %v", err)
	}
	tb.Cleanup(server.Close)
	return server
}

// New starts a server on a free port of the loopback interface. Its errors are those of listening and of making certificates.
func New(options ...Option) (*Server, error) {
	wanted := settings{region: Region, credentials: []Credential{Test}}
	for _, option := range options {
		option(&wanted)
	}
	s := &Server{
		gate:   gate{region: wanted.region, host: wanted.host, unsigned: wanted.unsigned},
		models: wanted.models, done: make(chan struct{}), open: map[net.Conn]struct{}{},
	}
	for _, credential := range wanted.credentials {
		s.Accept(credential)
	}
	s.script.reset()
	config, err := s.certify(wanted)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s.address = listener.Addr()
	s.http = &http.Server{
		Handler: s, ConnState: s.follow, TLSConfig: config,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // broken peers are what this server is for
	}
	s.serve(listener)
	return s, nil
}

func (s *Server) certify(wanted settings) (*tls.Config, error) {
	if !wanted.tls {
		return nil, nil //nolint:nilnil // no TLS is no configuration of it
	}
	s.authority = wanted.authority
	if s.authority == nil {
		authority, err := openai.NewAuthority()
		if err != nil {
			return nil, err
		}
		s.authority = authority
	}
	certificate, err := s.authority.Issue(append([]string{"localhost", "127.0.0.1", "::1"}, wanted.hosts...)...)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	if wanted.noHTTP2 {
		config.NextProtos = []string{"http/1.1"}
	}
	return config, nil
}

// serve serves a listener until it is closed, which is the only error it ends with.
func (s *Server) serve(listener net.Listener) {
	s.listener = listener
	s.serving.Go(func() {
		if s.authority != nil {
			_ = s.http.ServeTLS(listener, "", "")
			return
		}
		_ = s.http.Serve(listener)
	})
}

// Close ends the listener, all connections and all answers under way, and waits
// for them.
func (s *Server) Close() {
	s.closing.Do(func() {
		close(s.done)
		s.mu.Lock()
		s.shutting = true
		s.mu.Unlock()
		s.Refuse()
		_ = s.http.Close() // the errors of connections are of no interest at the end
	})
	s.serving.Wait()
	s.handlers.Wait()
}

// URL is the server's base, without a path, as an SDK wants an endpoint:
// "http://127.0.0.1:40001".
func (s *Server) URL() string {
	if s.authority != nil {
		return "https://" + s.Address()
	}
	return "http://" + s.Address()
}

// Address is host:port, the same before and after Refuse and Resume.
func (s *Server) Address() string { return s.address.String() }

// CA is the PEM certificate of the authority to trust; nil without TLS.
func (s *Server) CA() []byte {
	if s.authority == nil {
		return nil
	}
	return s.authority.PEM()
}

// Refuse closes the listener, so that new connections are refused, and every
// connection as soon as it is idle.
func (s *Server) Refuse() {
	s.http.SetKeepAlivesEnabled(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
	}
}

// Resume listens on the same address again. It tries for two seconds, because a
// connection may hold the port for a moment, and fails if somebody else took it.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shutting || s.listener != nil {
		return nil
	}
	deadline := time.Now().Add(2 * time.Second)
	for {
		listener, err := net.Listen(s.address.Network(), s.address.String())
		if err == nil {
			s.http.SetKeepAlivesEnabled(true)
			s.serve(listener)
			return nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return fmt.Errorf("listen again: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
