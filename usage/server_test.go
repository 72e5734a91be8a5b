package usage

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	service "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// sink remembers what it consumed.
type sink struct {
	mu  sync.Mutex
	got []*Request
}

func (s *sink) Consume(r *Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, r)
}

func (s *sink) all() []*Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Request{}, s.got...)
}

// house is a running service and a connection to it.
type house struct {
	service *Service
	sink    *sink
	client  service.AccessLogServiceClient
	stop    func()
}

func startHouse(t *testing.T, s Settings) *house {
	t.Helper()
	h := &house{sink: &sink{}}
	s.Decoder = decoder(t)
	s.Consumers = append(s.Consumers, h.sink)
	h.service = New(s)
	pipe := bufconn.Listen(1 << 20)
	server := grpc.NewServer(ServerOption())
	h.service.Register(server)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { assert.NoError(t, server.Serve(pipe)) })
	running.Go(func() { assert.NoError(t, h.service.Run(ctx)) })
	connection, err := grpc.NewClient("passthrough:///pipe", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	require.NoError(t, err)
	h.client = service.NewAccessLogServiceClient(connection)
	var once sync.Once
	h.stop = func() {
		once.Do(func() {
			_ = connection.Close()
			server.GracefulStop()
			cancel()
			running.Wait()
		})
	}
	t.Cleanup(h.stop)
	return h
}

func (h *house) open(t *testing.T) service.AccessLogService_StreamAccessLogsClient {
	t.Helper()
	stream, err := h.client.StreamAccessLogs(t.Context())
	require.NoError(t, err)
	return stream
}

func message(name string, entries ...*data.HTTPAccessLogEntry) *service.StreamAccessLogsMessage {
	m := &service.StreamAccessLogsMessage{LogEntries: &service.StreamAccessLogsMessage_HttpLogs{
		HttpLogs: &service.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: entries},
	}}
	if name != "" {
		m.Identifier = &service.StreamAccessLogsMessage_Identifier{LogName: name}
	}
	return m
}

func untyped(e *data.HTTPAccessLogEntry) {
	e.CommonProperties.AccessLogType = data.AccessLogType_NotSet
}

func TestTwoLogsBecomeOneRecord(t *testing.T) {
	var early sink
	h := startHouse(t, Settings{Attempt: func(a *Attempt) { early.Consume(&Request{ID: a.RequestID}) }})
	requests, attempts := h.open(t), h.open(t)
	twice := func(e *data.HTTPAccessLogEntry) { e.CommonProperties.UpstreamRequestAttemptCount = 2 }
	require.NoError(t, requests.Send(message(LogRequests, requestEntry(t, "a", twice, untyped, answered(500, viaUpstream)), requestEntry(t, "b", refusedAtTheDoor(401, "jwt_authn_access_denied"), untyped))))
	require.NoError(t, attempts.Send(message(LogAttempts, attemptEntry(t, "a", 1, untyped, answered(500, ""), at("provider/first")))))
	// The name comes with a stream's first message only.
	require.NoError(t, attempts.Send(message("", attemptEntry(t, "a", 2, untyped))))
	require.Eventually(t, func() bool { return len(h.sink.all()) == 2 }, 5*time.Second, time.Millisecond)
	for _, r := range h.sink.all() {
		if r.ID != "a" {
			continue
		}
		require.Len(t, r.Attempts, 2)
		assert.Equal(t, []string{"first", "openai"}, []string{r.Attempts[0].Provider, r.Attempts[1].Provider})
		assert.True(t, r.Cost.Known)
	}
	assert.Len(t, early.all(), 2, "attempts are told of before their request")
	assert.Equal(t, 2, h.service.Stats().Streams)
	for _, stream := range []service.AccessLogService_StreamAccessLogsClient{requests, attempts} {
		_, err := stream.CloseAndRecv()
		require.NoError(t, err)
	}
	assert.Zero(t, h.service.Stats().Streams)
}

func TestOtherEntriesAreSkippedAndCounted(t *testing.T) {
	h := startHouse(t, Settings{})
	stream := h.open(t)
	periodic := func(e *data.HTTPAccessLogEntry) {
		e.CommonProperties.AccessLogType = data.AccessLogType_DownstreamPeriodic
	}
	require.NoError(t, stream.Send(message("somebody.elses", requestEntry(t, "a", untyped), nil)))
	require.NoError(t, stream.Send(message(LogRequests, requestEntry(t, "b", periodic))))
	require.NoError(t, stream.Send(&service.StreamAccessLogsMessage{LogEntries: &service.StreamAccessLogsMessage_TcpLogs{
		TcpLogs: &service.StreamAccessLogsMessage_TCPAccessLogEntries{LogEntry: []*data.TCPAccessLogEntry{{}}},
	}}))
	require.NoError(t, stream.Send(&service.StreamAccessLogsMessage{}))
	_, err := stream.CloseAndRecv()
	require.NoError(t, err)
	assert.EqualValues(t, 4, h.service.Stats().Skipped)
	assert.Empty(t, h.sink.all())
}

// A cut stream loses nothing that had come, and what waits goes out at the end.
func TestACutStreamAndTheEnd(t *testing.T) {
	h := startHouse(t, Settings{})
	ctx, cut := context.WithCancel(t.Context())
	stream, err := h.client.StreamAccessLogs(ctx)
	require.NoError(t, err)
	thrice := func(e *data.HTTPAccessLogEntry) { e.CommonProperties.UpstreamRequestAttemptCount = 3 }
	require.NoError(t, stream.Send(message(LogRequests, requestEntry(t, "a", thrice))))
	require.Eventually(t, func() bool { return h.service.Stats().Requests == 1 }, 5*time.Second, time.Millisecond)
	cut()
	require.Eventually(t, func() bool { return h.service.Stats().Streams == 0 }, 5*time.Second, time.Millisecond)
	again := h.open(t)
	require.NoError(t, again.Send(message(LogRequests, requestEntry(t, "a", thrice), requestEntry(t, "b", thrice))))
	_, err = again.CloseAndRecv()
	require.NoError(t, err)
	assert.EqualValues(t, 1, h.service.Stats().Duplicates)
	assert.Empty(t, h.sink.all())
	h.stop()
	h.service.Close() // twice
	require.Len(t, h.sink.all(), 2)
	assert.True(t, h.sink.all()[0].Partial)
	assert.Zero(t, h.service.Stats().Pending)
}

// Many workers of Envoy at once, each with its streams: every request once.
func TestManyStreamsAtOnce(t *testing.T) {
	ledger, _, err := OpenLedger(filepath.Join(t.TempDir(), "usage.json"))
	require.NoError(t, err)
	defer ledger.Close()
	h := startHouse(t, Settings{Ledger: ledger, Consumers: []Consumer{
		NewMetrics(MetricsSettings{Tenants: 3}), NewRecent(RecentSettings{Requests: 10}), NewWindow(WindowSettings{}),
	}})
	const workers, each = 4, 500
	var sending sync.WaitGroup
	for worker := range workers {
		for _, kind := range []string{LogRequests, LogAttempts} {
			stream := h.open(t)
			sending.Go(func() {
				for i := range each {
					id := strconv.Itoa(worker) + "-" + strconv.Itoa(i)
					entry := requestEntry(t, id, answered(500, viaUpstream)) // so that its attempt has an entry
					if kind == LogAttempts {
						entry = attemptEntry(t, id, 1)
					}
					entry.CommonProperties.StartTime = timestamppb.New(begun.Add(time.Duration(i) * time.Second))
					if !assert.NoError(t, stream.Send(message(kind, entry, entry))) { //nolint:testifylint // require ends the wrong goroutine here
						return
					}
				}
				_, err := stream.CloseAndRecv()
				assert.NoError(t, err)
			})
		}
	}
	sending.Wait()
	seen := map[string]int{}
	for _, r := range h.sink.all() {
		seen[r.ID]++
		assert.Len(t, r.Attempts, 1)
	}
	assert.Len(t, seen, workers*each)
	assert.Len(t, h.sink.all(), workers*each)
	assert.EqualValues(t, 4*workers*each, ledger.received())
	assert.EqualValues(t, 4*workers*each, ledger.balance.Settled)
	assert.EqualValues(t, workers*each, ledger.balance.Requests)
}

// usual is what Envoy tells of a plain chat that went well.
func usual(t testing.TB, id string) *data.HTTPAccessLogEntry {
	return requestEntry(t, id, usageIs(t, map[string]any{
		"raw": `{"prompt_tokens":57,"completion_tokens":17,"total_tokens":74,"prompt_tokens_details":{"cached_tokens":0},` +
			`"completion_tokens_details":{"reasoning_tokens":0}}`,
	}), func(e *data.HTTPAccessLogEntry) {
		e.CommonProperties.Metadata.FilterMetadata[metadataKeys] = fieldsOf(t, map[string]any{"jwt": map[string]any{
			"iss": "postern", "aud": "postern", "iat": 1771678800, "exp": 1803214800, "tenant": "acme", "jti": "k1", "sub": "ada",
		}})
		c := e.GetCommonProperties()
		c.TimeToFirstUpstreamTxByte, c.TimeToFirstUpstreamRxByte = durationpb.New(time.Millisecond), durationpb.New(2*time.Millisecond)
		c.TimeToLastUpstreamRxByte, c.TimeToLastDownstreamTxByte = durationpb.New(3*time.Millisecond), durationpb.New(4*time.Millisecond)
	})
}

// working is a Service with all consumers, and messages of so many entries for it, no
// two of which are the same.
func working(t testing.TB, messages, entries int) (s *Service, texts [][]byte) {
	ledger, _, err := OpenLedger(filepath.Join(t.TempDir(), "usage.json"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = ledger.Close() })
	s = New(Settings{Decoder: decoder(t), Ledger: ledger, Join: JoinSettings{Pending: 1000}, Consumers: []Consumer{
		NewMetrics(MetricsSettings{}), NewRecent(RecentSettings{Requests: 1000}), NewWindow(WindowSettings{}),
	}})
	for n := range messages {
		m := message(LogRequests)
		for i := range entries {
			id := "3d6f0a52-0000-4000-8000-" + strconv.Itoa(1e9+n*entries+i)
			logs := m.GetHttpLogs()
			logs.LogEntry = append(logs.LogEntry, usual(t, id))
		}
		text, err := proto.Marshal(m)
		require.NoError(t, err)
		texts = append(texts, text)
	}
	return s, texts
}

func BenchmarkTake(b *testing.B) {
	const entries = 50
	s, texts := working(b, 400, entries)
	var from reader
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.take(&from, texts[i%len(texts)])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/entries, "ns/entry")
}
