package bedrock

import (
	"testing"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// Server is one region of the service. It answers from New until Close. An SDK's
// endpoint is its URL.
type Server struct {
	*stage.Stage[Request]

	gate   gate
	models map[string]string
	script stage.Script[Behavior]
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

// New starts a server on a free port of the loopback interface. Its errors are those of
// listening and of making certificates.
func New(options ...Option) (*Server, error) {
	wanted := settings{region: Region, credentials: []Credential{Test}}
	for _, option := range options {
		option(&wanted)
	}
	s := &Server{
		gate:   gate{region: wanted.region, host: wanted.host, unsigned: wanted.unsigned},
		models: wanted.models,
	}
	for _, credential := range wanted.credentials {
		s.Accept(credential)
	}
	below, err := stage.Open(wanted.Opening, s.attend)
	if err != nil {
		return nil, err
	}
	s.Stage = below
	return s, nil
}
