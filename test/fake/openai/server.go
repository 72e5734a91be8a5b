package openai

import (
	"testing"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// Server is one provider. It answers from New until Close. An SDK's base URL is
// URL() + "/v1".
type Server struct {
	*stage.Stage[Request]

	key    string
	keep   int
	told   func(Request, Said)
	script stage.Script[Behavior]
}

// Greeting is what happens to a connection before a byte of it is read.
type Greeting = stage.Greeting

// The greetings.
const (
	Welcome   = stage.Welcome   // serve it
	HangUp    = stage.HangUp    // close it (FIN)
	SlamDoor  = stage.SlamDoor  // reset it (RST)
	Babble    = stage.Babble    // send bytes that are not HTTP, then close it
	SayNought = stage.SayNought // leave it open, read nothing, answer nothing
)

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
	s := &Server{key: wanted.key, keep: wanted.keep, told: wanted.witness}
	below, err := stage.Open(wanted.Opening, s.attend)
	if err != nil {
		return nil, err
	}
	s.Stage = below
	return s, nil
}
