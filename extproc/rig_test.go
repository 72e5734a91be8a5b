package extproc_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/extproc"
	"github.com/postern-proxy/postern/usage/price"
)

// How long a test waits for what another goroutine does, and how often it looks.
const (
	waitFor = 10 * time.Second
	tick    = time.Millisecond
)

// serve runs service on a connection in memory, as Envoy would meet it, and stops
// it with the test.
func serve(t *testing.T, service *extproc.Service) pb.ExternalProcessorClient {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(extproc.ServerOptions()...)
	service.Register(server)
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	connection, err := grpc.NewClient("passthrough:///postern",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, connection.Close())
		server.GracefulStop()
		require.NoError(t, <-stopped)
	})
	return pb.NewExternalProcessorClient(connection)
}

// service is one that knows a plan, and forgets what it logs.
func service(t *testing.T, plans ...*extproc.Plan) *extproc.Service {
	t.Helper()
	history := new(extproc.History)
	for _, plan := range plans {
		history.Add(plan)
	}
	return &extproc.Service{
		Plans:  history,
		Budget: extproc.NewBudget(extproc.DefaultBudget),
		Log:    slog.New(slog.DiscardHandler),
	}
}

// parse reads a configuration whose keys are all set.
func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("postern.yaml", []byte(text), config.Env{
		Lookup: func(string) (string, bool) { return "sk-test", true },
	})
	require.NoError(t, err)
	return cfg
}

// prices has one provider whose answers are dear, and one whose questions are. The third's
// are known for short questions only.
func prices(t testing.TB) *price.Table {
	t.Helper()
	table, err := price.New(map[string]price.Quote{
		"wordy/gpt": {Input: "1", Output: "20"}, "brief/gpt": {Input: "5", Output: "10"},
		"brief/pt":  {Input: "0.5", Output: "1"},
		"other/gpt": {Input: "0.1", Output: "0.1", UpTo: 100},
	}, price.Settings{})
	require.NoError(t, err)
	return table
}

// converse opens a stream with metadata (name, value, …), sends the messages one by
// one, each after the answer to the one before, and gives the answers, and how the
// stream ended: nil where the service had said all it had to say.
func converse(t testing.TB, client pb.ExternalProcessorClient, meta []string, messages ...*pb.ProcessingRequest) (answers []*pb.ProcessingResponse, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conversation, err := client.Process(metadata.AppendToOutgoingContext(ctx, meta...))
	require.NoError(t, err)
	for _, message := range messages {
		if err := conversation.Send(message); err != nil && !errors.Is(err, io.EOF) {
			require.NoError(t, err)
		}
		answer, err := conversation.Recv()
		if errors.Is(err, io.EOF) {
			return answers, nil
		}
		if err != nil {
			return answers, err
		}
		answers = append(answers, answer)
	}
	require.NoError(t, conversation.CloseSend())
	_, err = conversation.Recv()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return answers, err
}

func headers(end bool) *pb.ProcessingRequest {
	return &pb.ProcessingRequest{Request: &pb.ProcessingRequest_RequestHeaders{
		RequestHeaders: &pb.HttpHeaders{EndOfStream: end},
	}}
}

func body(text []byte) *pb.ProcessingRequest {
	return &pb.ProcessingRequest{Request: &pb.ProcessingRequest_RequestBody{
		RequestBody: &pb.HttpBody{Body: text, EndOfStream: true},
	}}
}
