package xds

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
)

const (
	// stageMost is how long routes wait for the clusters that they lead to: an
	// Envoy that does not answer holds up the others of its cluster no longer.
	stageMost = time.Second
	// ownMost is the same for the gate's own Envoy, which holds up nobody else, and on
	// a busy machine may need as long.
	ownMost = 5 * time.Second
	// stageNames is how long they wait on top of that for the addresses of
	// clusters that are found by name. Nobody says when those are there, and
	// until then such a cluster has none.
	stageNames = 200 * time.Millisecond
)

// stage is a snapshot whose new clusters and secrets are served already, and nothing
// else of it. Envoy takes a new cluster into use when it has its secret and addresses;
// a request that a new route sends there before that is lost.
type stage struct {
	snapshot *cache.Snapshot
	keep     time.Duration
	secrets  []string // that the new clusters wait for
	byName   bool     // a new cluster is found by name
	answered bool     // all Envoys have answered: only the names are waited for
	deadline time.Time
	timer    *time.Timer
}

// newStage is nil where snapshot has no cluster that is not served already.
func newStage(snapshot, served *cache.Snapshot, keep time.Duration) *stage {
	there := served.GetResources(resource.ClusterType)
	s := &stage{snapshot: snapshot, keep: keep}
	var packed []byte
	for _, name := range names(snapshot.GetResources(resource.ClusterType)) {
		if there[name] != nil {
			continue
		}
		its, _ := snapshot.GetResources(resource.ClusterType)[name].(*cluster.Cluster)
		s.byName = s.byName || found(its)
		text, err := proto.Marshal(its)
		if err != nil {
			return nil // what cannot be sent need not be waited for
		}
		packed = append(packed, text...)
		packed = append(packed, 0)
	}
	if len(packed) == 0 {
		return nil
	}
	known := served.GetResources(resource.SecretType)
	for _, name := range names(snapshot.GetResources(resource.SecretType)) {
		if known[name] == nil && bytes.Contains(packed, []byte(name)) {
			s.secrets = append(s.secrets, name)
		}
	}
	return s
}

// over is what is served while s waits: base, and what is new in s.
func (s *stage) over(base *cache.Snapshot) *cache.Snapshot {
	merged := &cache.Snapshot{Resources: base.Resources}
	for _, kind := range keptTypes() {
		all := maps.Clone(s.snapshot.GetResources(kind))
		if all == nil {
			all = map[string]types.Resource{}
		}
		maps.Copy(all, base.GetResources(kind))
		merged.Resources[cache.GetResponseType(kind)] = cache.NewResources(s.version(kind), slices.Collect(maps.Values(all)))
	}
	return merged
}

func (s *stage) version(kind resource.Type) string { return s.snapshot.GetVersion(kind) }

// begin serves what a stage needs first. The caller holds s.mu.
func (s *Server) begin(ctx context.Context, on *shelf, next *stage) error {
	next.deadline = s.now().Add(on.hearing.patience)
	if on.next != nil { // never in force: what it brought may go at once
		next.deadline = on.next.deadline
		next.keep = max(next.keep, on.next.keep)
		on.next.timer.Stop()
	}
	on.next = next
	s.wake(ctx, on, next, max(0, next.deadline.Sub(s.now())))
	return s.publish(ctx, on)
}

// wake puts a stage in force after a while, whoever has not answered.
func (s *Server) wake(ctx context.Context, on *shelf, next *stage, after time.Duration) {
	ctx = context.WithoutCancel(ctx)
	next.timer = time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if on.next == next && !s.stopped && on.users >= 0 {
			s.told(s.commit(ctx, on))
		}
	})
}

// commit puts the stage of a shelf in force. The caller holds s.mu.
func (s *Server) commit(ctx context.Context, on *shelf) error {
	next := on.next
	on.next = nil
	next.timer.Stop()
	s.replace(on, next.snapshot, next.keep)
	return s.publish(ctx, on)
}

// heard looks whether a stage may be put in force, after an Envoy of its shelf has
// said something.
func (s *Server) heard(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	on := s.own
	if cluster != "" {
		on = s.shelves[cluster]
	}
	if on == nil || on.next == nil || on.next.answered || s.stopped {
		return
	}
	if on.hearing.took(on.cluster(), on.next) {
		s.told(s.ripe(s.life, on))
	}
}

// ripe puts a stage in force whose clusters all Envoys have, or waits for their names.
func (s *Server) ripe(ctx context.Context, on *shelf) error {
	next := on.next
	if !next.byName {
		return s.commit(ctx, on)
	}
	next.answered = true
	next.timer.Stop()
	s.wake(ctx, on, next, stageNames)
	return nil
}

// told logs what nobody is there to hear.
func (s *Server) told(err error) {
	if err != nil {
		s.log.Error("serving a configuration", "error", err)
	}
}

// took says that all Envoys of a cluster (of the Unix socket: "") have what a stage
// brings. Those that refuse, that never asked for clusters, or that have been silent
// for longer than a stage waits anyway, are not waited for.
func (s *status) took(cluster string, next *stage) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.streams {
		if cluster != "" && c.cluster != cluster {
			continue
		}
		if !c.took(next, s.now().Add(-s.patience)) {
			return false
		}
	}
	return true
}

func (c *conversation) took(next *stage, silentSince time.Time) bool {
	kind := shortType(resource.ClusterType)
	if !c.asked[kind] || c.refused[kind] != nil {
		return true
	}
	for _, one := range c.pending {
		if one.at.Before(silentSince) {
			return true
		}
	}
	if c.accepted[kind] != next.version(resource.ClusterType) {
		return false
	}
	for _, name := range next.secrets {
		if !c.secrets[name] {
			return false
		}
	}
	return true
}
