package extproc

import (
	"math"

	"google.golang.org/grpc"
)

// ServerOptions are how the service's gRPC server is set up: bodies are bounded by
// Envoy and by the Budget and not by the message size, and the windows are wide,
// because Envoy sends a body as one message over a local socket.
func ServerOptions() []grpc.ServerOption {
	const window = 4 << 20
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(4 * window),
		grpc.MaxConcurrentStreams(math.MaxUint32),
	}
}
