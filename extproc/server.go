// Package extproc understands requests: it is the service that Envoy's ext_proc
// filters ask where a request's body must be read (to find a large body's model),
// judged or changed (system text, validation, names), and where one attempt's request
// and answer are to be in a provider's own form.
//
// The invariant: a stream is stateless. Everything it needs came with it (the
// lane, the configuration version its Envoy routed by, the route's entry, the
// path and the body's length are metadata of the stream) or is looked up by that
// version, so that any replica can serve any stream. It connects to no provider and
// checks no key; what it fetches is images of hosts that the operator named.
//
// A Service is safe for concurrent use; each stream has one goroutine.
// server.go is the loop, stream.go has one method per kind of message, mutation.go
// alone builds what is sent.
package extproc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/postern-proxy/postern/extproc/provider/images"
)

// Service is the ext_proc service.
type Service struct {
	pb.UnimplementedExternalProcessorServer

	// Plans gives the plan of a configuration version. Needed.
	Plans Plans
	// Budget bounds the bodies that are held at once. Needed.
	Budget *Budget
	// Log hears of panics. Needed.
	Log *slog.Logger
	// Observe, if set, is told how long each stage took.
	Observe Observer
	// Images fetches remote images. Its zero value does.
	Images images.Fetcher
	// Now is the clock of what answers say; default time.Now.
	Now func() time.Time

	told atomic.Int64 // the second in which something was logged last
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Plans finds the plan of a version; nil if it is not known (any more).
type Plans interface {
	Plan(version string) *Plan
}

var _ pb.ExternalProcessorServer = (*Service)(nil)

// Register adds the service to a gRPC server.
func (s *Service) Register(server *grpc.Server) { pb.RegisterExternalProcessorServer(server, s) }

// Process serves one stream: one request on one lane.
func (s *Service) Process(conversation pb.ExternalProcessor_ProcessServer) error {
	ctx := conversation.Context()
	arrived, _ := metadata.FromIncomingContext(ctx)
	st := newStream(s, arrived)
	defer st.close()
	for !st.done {
		in, err := conversation.Recv()
		if err != nil {
			return ended(err)
		}
		out, err := st.handle(ctx, in)
		if err != nil {
			return err
		}
		if err := conversation.Send(out); err != nil {
			return ended(err)
		}
	}
	return nil
}

// ended is nil where the other side went away: a client that left, or an Envoy
// that had all it wanted.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}
