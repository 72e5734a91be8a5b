package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	adsserver "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Server serves the current snapshots by ADS (incremental) and keeps what Envoys
// said of them: one to the gate's own Envoys over a Unix socket (Serve, Set), and a
// view for each cluster of a fleet over mutual TLS (ServeFleet, SetFleet). An Envoy
// that is slow, silent or refuses holds up nobody else: it has a stream of its own,
// and gets the next version when it has answered the one before. Its methods may be
// called from any goroutine.
type Server struct {
	log      *slog.Logger
	cache    cache.SnapshotCache // of own
	grpc     *grpc.Server
	status   *status
	stop     context.CancelFunc
	life     context.Context //nolint:containedctx // of what happens because an Envoy said something, not a caller
	stopOnce sync.Once

	fleetCache cache.SnapshotCache // by cluster
	fleetADS   adsserver.Server
	fleet      *status

	mu      sync.Mutex
	own     *shelf
	shelves map[string]*shelf // the fleet's, by cluster
	views   map[string]View
	keep    time.Duration  // of the views
	servers []*grpc.Server // the fleet's
	stopped bool
	now     func() time.Time

	ready, fleetReady         chan struct{} // closed with the first snapshot
	readyOnce, fleetReadyOnce sync.Once
}

// NewServer makes a server without a snapshot: an Envoy that connects waits for
// the first Set, or SetFleet.
func NewServer(log *slog.Logger) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		log:        log,
		cache:      cache.NewSnapshotCache(true, everyNode{}, nil),
		status:     newStatus(log),
		stop:       cancel,
		life:       ctx,
		fleetCache: cache.NewSnapshotCache(true, byCluster{}, nil),
		fleet:      newStatus(log),
		shelves:    map[string]*shelf{},
		now:        time.Now,
		ready:      make(chan struct{}),
		fleetReady: make(chan struct{}),
	}
	s.own = newShelf(s.cache, s.status, own)
	s.fleet.guard, s.status.patience = s, ownMost
	s.fleet.heard, s.status.heard = s.heard, s.heard
	s.grpc = grpc.NewServer(patience())
	register(s.grpc, adsserver.NewServer(ctx, noting{
		SnapshotCache: s.cache, status: s.status, key: everyNode{}, keep: s.keepOfOwn, ready: s.ready, stopped: ctx.Done(),
	}, s.status))
	s.fleetADS = adsserver.NewServer(ctx, noting{
		SnapshotCache: s.fleetCache, status: s.fleet, key: byCluster{}, keep: s.keepOfFleet, ready: s.fleetReady, stopped: ctx.Done(),
	}, s.fleet)
	return s
}

// patience lets Envoys ping as often as their bootstrap says.
func patience() grpc.ServerOption {
	return grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true})
}

func register(on *grpc.Server, ads adsserver.Server) {
	discovery.RegisterAggregatedDiscoveryServiceServer(on, passing{ads})
}

// OnRefusal has f told of each refusal of an Envoy, by the last word of the resource's
// type. Call it before Serve; f must not wait.
func (s *Server) OnRefusal(f func(kind string)) { s.status.refusal, s.fleet.refusal = f, f }

// Serve answers the gate's own Envoys on l until Stop. It gives nil after Stop.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("xds.Serve: %w", err)
	}
	return nil
}

// Stop ends all streams. Envoys keep the configuration they have. It may be called
// more than once.
func (s *Server) Stop() {
	s.stopOnce.Do(func() {
		s.mu.Lock()
		s.stopped = true
		for _, on := range s.shelves {
			on.still()
		}
		s.own.still()
		servers := s.servers
		s.mu.Unlock()
		s.stop()
		for _, server := range servers {
			server.Stop()
		}
		s.grpc.Stop()
	})
}

// Set makes snapshot the one that the gate's own Envoys are served. Clusters and
// secrets that it no longer names stay for another keep: requests that were routed by
// the snapshot before may still retry to them.
func (s *Server) Set(ctx context.Context, snapshot *cache.Snapshot, keep time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.offer(snapshot)
	err := s.set(ctx, s.own, snapshot, keep)
	s.readyOnce.Do(func() { close(s.ready) })
	return err
}

// Status is what Envoys said of the configuration: the gate's own, and the fleet's.
func (s *Server) Status() Status {
	all, fleet := s.status.get(), s.fleet.get()
	if all.Offered == "" {
		all.Offered = fleet.Offered
	}
	all.Envoys = append(all.Envoys, fleet.Envoys...)
	all.Gone = append(all.Gone, fleet.Gone...)
	return all
}
