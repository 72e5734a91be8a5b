package usage

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	service "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"

	"github.com/postern-proxy/postern/wire"
)

// The log names by which Envoy's two access logs are told apart.
const (
	LogRequests = wire.LogRequests // the connection manager's: one entry a request
	LogAttempts = wire.LogAttempts // the router's upstream_log: one entry an attempt that failed
)

// Settings are what a Service is made of. The zero value works and tells nobody.
type Settings struct {
	Decoder Decoder
	Join    JoinSettings
	// Consumers get each finished request once, one after the other. One that has a
	// method Flush is told where a batch ends.
	Consumers []Consumer
	// Attempt is told of each attempt as soon as its entry comes, before its request
	// ends: health of providers wants to know early. Such an attempt may be Open,
	// and its Model may be empty or hold a *. It may be nil, and is called from
	// several goroutines.
	Attempt func(a *Attempt)
	// Ledger remembers across restarts how many entries were settled; nil: nobody
	// does.
	Ledger *Ledger
}

// Stats are a Service's counts since its begin.
type Stats struct {
	JoinStats
	Skipped uint64 // entries that are neither: periodic ones, TCP, of an unknown log
	Streams int    // open streams of Envoy's workers
}

// Service is Envoy's access log service. Run it, register it, and stop the gRPC
// server after Envoy's end: then every entry that Envoy sent is counted.
type Service struct {
	service.UnimplementedAccessLogServiceServer

	settings Settings
	joiner   *Joiner
	skipped  atomic.Uint64
	streams  atomic.Int64
	framing  sync.Mutex // held while a frame of records is taken
	settling sync.Mutex // held while requests are handed out and settled
	stopping chan struct{}
	once     sync.Once
}

var _ service.AccessLogServiceServer = (*Service)(nil)

// New makes a Service; nothing runs yet.
func New(s Settings) *Service {
	return &Service{settings: s, joiner: NewJoiner(s.Join), stopping: make(chan struct{})}
}

// Register adds the service to a gRPC server that was made with ServerOption.
func (s *Service) Register(to grpc.ServiceRegistrar) {
	service.RegisterAccessLogServiceServer(to, s)
}

// Stats are the counts so far.
func (s *Service) Stats() Stats {
	return Stats{JoinStats: s.joiner.Stats(), Skipped: s.skipped.Load(), Streams: int(s.streams.Load())}
}

// sweep is how often what waited too long is looked for.
const sweep = time.Second

// Run expires what waits too long until ctx ends, and then lets go of all that waits:
// requests go out with the attempts that came. Streams that are still open go on, and
// what they bring is joined no more, but handed out.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweep)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.emit(s.joiner.Expire(), frame{})
		case <-ctx.Done():
			s.Close()
			return nil
		}
	}
}

// Close lets go of all that waits. It may be called twice, and without Run.
func (s *Service) Close() {
	s.once.Do(func() { close(s.stopping) })
	s.emit(s.joiner.Drain(), frame{})
}

// StreamAccessLogs takes entries until Envoy ends the stream. There is nothing to
// answer before the end: Envoy sends what it has and never asks.
func (s *Service) StreamAccessLogs(stream service.AccessLogService_StreamAccessLogsServer) error {
	s.streams.Add(1)
	defer s.streams.Add(-1)
	var from reader
	var message batch
	defer message.free()
	for {
		switch err := stream.RecvMsg(&message); {
		case errors.Is(err, io.EOF):
			return stream.SendAndClose(new(service.StreamAccessLogsResponse))
		case err != nil:
			return err // the stream broke; Envoy opens another
		}
		s.take(&from, message.text.ReadOnlyData())
	}
}

// reader is what one stream needs to read its messages, and keeps for the next one.
type reader struct {
	name    string // of the log; it comes with the first message only
	entries [][]byte
	entry   entry
	memos   memos
}

// take handles one message.
func (s *Service) take(from *reader, message []byte) {
	name, entries, others := readBatch(message, from.entries[:0])
	if name != "" {
		from.name = name
	}
	s.skipped.Add(uint64(others)) //nolint:gosec // a count
	s.takeEntries(from, entries, (*entry).read, frame{})
}

// takeEntries handles entries that came together: they are decoded outside of the
// joiner's lock, which is held once. Nothing of their texts is kept.
func (s *Service) takeEntries(from *reader, entries [][]byte, read func(*entry, []byte), of frame) {
	requests := make([]*Request, 0, len(entries))
	var attempts []Attempt
	for _, text := range entries {
		read(&from.entry, text)
		switch from.entry.log(from.name) {
		case LogRequests:
			r := new(Request)
			s.settings.Decoder.request(&from.entry, &from.memos, r)
			requests = append(requests, r)
		case LogAttempts:
			attempts = append(attempts, s.settings.Decoder.attempt(&from.entry, &from.memos))
		default:
			s.skipped.Add(1)
		}
	}
	from.entry = entry{}
	clear(entries)
	from.entries = entries
	if s.settings.Attempt != nil {
		for i := range attempts {
			a := attempts[i]
			s.settings.Attempt(&a)
		}
	}
	s.emit(append(s.joiner.AddAttempts(attempts), s.joiner.AddRequests(requests)...), of)
	select {
	case <-s.stopping:
		s.emit(s.joiner.Drain(), frame{})
	default:
	}
}

// log is which log an entry belongs to: by its type where it has one, else by the
// stream's name. Entries of requests that go on are neither.
func (e *entry) log(stream string) string {
	switch e.kind {
	case data.AccessLogType_DownstreamEnd:
		return LogRequests
	case data.AccessLogType_UpstreamEnd:
		return LogAttempts
	case data.AccessLogType_NotSet:
		if stream == LogRequests || stream == LogAttempts {
			return stream
		}
	}
	return ""
}

// emit finishes requests, hands them to the consumers, and then settles them, and the
// frame that they came with, if they did.
func (s *Service) emit(done []*Request, of frame) {
	s.settling.Lock() // what one writes the other must not settle
	defer s.settling.Unlock()
	entries := uint64(0)
	for _, r := range done {
		entries += r.entries
		s.settings.Decoder.Finish(r)
		for _, consumer := range s.settings.Consumers {
			consumer.Consume(r)
		}
	}
	for _, consumer := range s.settings.Consumers {
		if batched, ok := consumer.(interface{ Flush() }); ok && len(done) > 0 {
			batched.Flush()
		}
	}
	if s.settings.Ledger != nil {
		s.settings.Ledger.settle(uint64(len(done)), entries, s.Stats(), of)
	}
}
