package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	adsserver "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// node is the one key of the snapshot cache: every Envoy gets the same.
const node = "postern"

// everyNode maps each Envoy to that key.
type everyNode struct{}

func (everyNode) ID(*core.Node) string { return node }

// Server serves the current snapshot by ADS (incremental) and keeps what Envoy
// said of it. Its methods may be called from any goroutine.
type Server struct {
	log      *slog.Logger
	cache    cache.SnapshotCache
	grpc     *grpc.Server
	status   *status
	stop     context.CancelFunc
	stopOnce sync.Once

	mu      sync.Mutex
	current *cache.Snapshot
	retired *retired
	timer   *time.Timer
	stopped bool
	now     func() time.Time
}

// NewServer makes a server without a snapshot: an Envoy that connects waits for
// the first Set.
func NewServer(log *slog.Logger) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		log:     log,
		cache:   cache.NewSnapshotCache(true, everyNode{}, nil),
		status:  newStatus(log),
		stop:    cancel,
		retired: newRetired(),
		now:     time.Now,
	}
	s.grpc = grpc.NewServer(
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	discovery.RegisterAggregatedDiscoveryServiceServer(s.grpc, adsserver.NewServer(ctx, s.cache, s.status))
	return s
}

// Serve answers Envoys on l until Stop. It gives nil after Stop.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("xds.Serve: %w", err)
	}
	return nil
}

// Stop ends all streams. Envoy keeps the configuration it has. It may be called
// more than once.
func (s *Server) Stop() {
	s.stopOnce.Do(func() {
		s.mu.Lock()
		s.stopped = true
		if s.timer != nil {
			s.timer.Stop()
		}
		s.mu.Unlock()
		s.stop()
		s.grpc.Stop()
	})
}

// Set makes snapshot the one that is served. Clusters and secrets that it no
// longer names stay for another keep: requests that were routed by the snapshot
// before may still retry to them.
func (s *Server) Set(ctx context.Context, snapshot *cache.Snapshot, keep time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired.replace(s.current, snapshot, s.now().Add(keep))
	s.current = snapshot
	s.status.offer(snapshot)
	return s.publish(ctx)
}

// publish serves the current snapshot with what is retired but not yet gone, and
// comes back when the next of them may go. The caller holds s.mu.
func (s *Server) publish(ctx context.Context) error {
	if s.timer != nil {
		s.timer.Stop()
	}
	merged, next := s.retired.merge(s.current, s.now())
	if !next.IsZero() && !s.stopped {
		s.timer = time.AfterFunc(next.Sub(s.now())+time.Millisecond, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if err := s.publish(context.WithoutCancel(ctx)); err != nil {
				s.log.Error("retiring clusters", "error", err)
			}
		})
	}
	if err := s.cache.SetSnapshot(ctx, node, merged); err != nil {
		return fmt.Errorf("xds.Set: %w", err)
	}
	return nil
}

// Status is what Envoy said of the configuration.
func (s *Server) Status() Status { return s.status.get() }
