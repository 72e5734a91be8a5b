package xds

import (
	"context"
	"fmt"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// own is the one key of the snapshots that the gate's own Envoys get, over the Unix
// socket.
const own = "postern"

// everyNode maps each Envoy to that key.
type everyNode struct{}

func (everyNode) ID(*core.Node) string { return own }

// byCluster maps an Envoy of the fleet to its cluster.
type byCluster struct{}

func (byCluster) ID(n *core.Node) string { return n.GetCluster() }

// shelf holds what the Envoys of one key are served: the current snapshot, and what
// left it lately. The Server's lock guards it.
type shelf struct {
	cache   cache.SnapshotCache
	key     string
	hearing *status // of those who look at it
	current *cache.Snapshot
	served  map[string]types.Resource // the clusters, with what is staged and what is retired
	next    *stage                    // what becomes current when its clusters are there; nil: nothing
	retired *retired
	timer   *time.Timer // to when the next of the retired may go
	keep    time.Duration
	busy    time.Time // until then requests of a version before the current one may run

	users int       // streams of the fleet that are open
	left  time.Time // when the last of them went
}

func newShelf(c cache.SnapshotCache, hearing *status, key string) *shelf {
	return &shelf{cache: c, hearing: hearing, key: key, retired: newRetired()}
}

// cluster is that of a fleet; empty for the gate's own Envoys.
func (on *shelf) cluster() string {
	if on.key == own && on.hearing.guard == nil {
		return ""
	}
	return on.key
}

// set makes snapshot the one that is served: its new clusters at once, and the rest
// when Envoys have those, at most the status's patience and stageNames later. The caller holds
// s.mu.
func (s *Server) set(ctx context.Context, on *shelf, snapshot *cache.Snapshot, keep time.Duration) error {
	snapshot = warm(snapshot, on.served)
	if on.current != nil {
		served, _ := on.retired.merge(on.current, s.now())
		if next := newStage(snapshot, served, keep); next != nil && !on.hearing.took(on.cluster(), next) {
			return s.begin(ctx, on, next)
		}
	}
	if on.next != nil {
		keep = max(keep, on.next.keep)
		on.next.timer.Stop()
		on.next = nil
	}
	s.replace(on, snapshot, keep)
	return s.publish(ctx, on)
}

// replace makes snapshot the current one. What it does not name stays until the requests
// of all versions before it have ended: one of the last version but one may run longer than
// any of the last. The caller holds s.mu.
func (s *Server) replace(on *shelf, snapshot *cache.Snapshot, keep time.Duration) {
	on.keep = keep
	if until := s.now().Add(keep); on.current != nil && until.After(on.busy) {
		on.busy = until
	}
	if n := on.retired.replace(on.current, snapshot, on.busy); n > 0 {
		s.log.Warn("so many clusters and secrets left lately that some are not kept until their requests have ended", "dropped", n)
	}
	on.current = snapshot
}

// keepOfOwn is how long requests of the gate's own current version may run, and of the
// one before it.
func (s *Server) keepOfOwn(string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own.keep
}

// keepOfFleet is the same for the fleet.
func (s *Server) keepOfFleet(string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keep
}

// publish serves the current snapshot with what is retired but not yet gone, and
// comes back when the next of them may go. The caller holds s.mu.
func (s *Server) publish(ctx context.Context, on *shelf) error {
	if on.timer != nil {
		on.timer.Stop()
		on.timer = nil
	}
	merged, next := on.retired.merge(on.current, s.now())
	if on.next != nil {
		merged = on.next.over(merged)
	}
	if !next.IsZero() && !s.stopped {
		on.timer = time.AfterFunc(next.Sub(s.now())+time.Millisecond, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.stopped || on.users < 0 {
				return
			}
			s.told(s.publish(context.WithoutCancel(ctx), on))
		})
	}
	on.served = merged.GetResources(resource.ClusterType)
	if err := on.cache.SetSnapshot(ctx, on.key, merged); err != nil {
		return fmt.Errorf("xds.Set: %w", err)
	}
	return nil
}

// still stops the timers. The caller holds s.mu.
func (on *shelf) still() {
	if on.timer != nil {
		on.timer.Stop()
	}
	if on.next != nil {
		on.next.timer.Stop()
	}
}

// drop forgets a shelf that nobody looks at. The caller holds s.mu.
func (on *shelf) drop() {
	on.still()
	on.users = -1 // a timer that is already on its way finds nothing to do
	on.cache.ClearSnapshot(on.key)
}
