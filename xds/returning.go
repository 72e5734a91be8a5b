package xds

import (
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// broughtLeast is how long at least what an Envoy brings stays with it. The version that
// it was routing by may be one that this process has never seen: it is the default of
// how long a request may run.
const broughtLeast = 10 * time.Minute

// brought is what an Envoy had when it came, from a control plane or a version that may
// be gone: names, but not what they stand for. It is treated as the current
// version would treat what it retires, for that Envoy alone: what it has and is no longer
// named leaves late, and new routes wait for new clusters. The status's lock guards it.
type brought struct {
	names map[resource.Type]map[string]bool // of keptTypes
	stray map[resource.Type]map[string]bool // that nobody names: they are to go
	until time.Time                         // then
	due   []*time.Timer                     // one for each type

	routes bool   // it came with routes
	wait   *stage // for whose clusters the new ones wait; nil: they do not
	waited bool   // they have
}

// forget ends what is waited for. The caller holds the status's lock.
func (b *brought) forget() {
	for _, timer := range b.due {
		timer.Stop()
	}
	if b.wait != nil {
		b.wait.timer.Stop()
	}
}

// note takes what an Envoy says it has, with its first word on a type.
func (b *brought) note(kind resource.Type, versions map[string]string) {
	if kind == resource.RouteType {
		b.routes = b.routes || len(versions) > 0
		return
	}
	for _, kept := range keptTypes() {
		if kind != kept || len(versions) == 0 {
			continue
		}
		if b.names == nil {
			b.names = map[resource.Type]map[string]bool{}
		}
		b.names[kind] = map[string]bool{}
		for name := range versions {
			b.names[kind][name] = true
		}
	}
}

// spare keeps what an Envoy brought of a type, and the snapshot does not name, out of
// what is held to be known of it, until it is due: nothing is then said of it. has is
// what the server holds the Envoy to have, and is changed.
func (s *status) spare(r *cache.DeltaRequest, has map[string]string, snapshot cache.ResourceSnapshot, keep time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, kind := s.asking[r], r.GetTypeUrl()
	if c == nil || c.brought.names[kind] == nil {
		return
	}
	b, there := &c.brought, snapshot.GetResources(kind)
	if b.stray[kind] == nil {
		after := max(keep, s.broughtLeast)
		b.begin(c, kind, s.now().Add(after), after)
		for name := range has {
			if there[name] == nil {
				b.stray[kind][name] = true
			}
		}
	}
	due := !s.now().Before(b.until)
	for name := range b.stray[kind] {
		switch {
		case there[name] != nil: // it is named again
			delete(b.stray[kind], name)
		case due:
			has[name] = ""
			delete(b.stray[kind], name)
		default:
			delete(has, name)
		}
	}
}

// begin notes that there may be strays of a type, which the Envoy has asked for, and has
// it looked at again when they are due.
func (b *brought) begin(c *conversation, kind resource.Type, until time.Time, after time.Duration) {
	if b.stray == nil {
		b.stray, b.until = map[resource.Type]map[string]bool{}, until
	}
	b.stray[kind] = map[string]bool{}
	if c.pass != nil {
		b.due = append(b.due, time.AfterFunc(after+time.Millisecond, func() { c.pass.wake(kind) }))
	}
}

// holds says that an Envoy that came with routes is not given new ones yet, because they
// lead to clusters that it does not have. It is asked again when it has them, and after
// the status's patience whatever it has.
func (s *status) holds(r *cache.DeltaRequest, snapshot *cache.Snapshot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.asking[r]
	if c == nil || r.GetTypeUrl() != resource.RouteType || c.pass == nil || !c.brought.routes {
		return false
	}
	b := &c.brought
	if b.waited || b.wait != nil {
		return !b.waited
	}
	b.wait = newStage(snapshot, b.of(snapshot), 0)
	if b.wait == nil {
		b.waited = true
		return false
	}
	b.wait.timer = time.AfterFunc(s.patience, func() { s.release(c) })
	return true
}

// of is the part of a snapshot that an Envoy brought.
func (b *brought) of(snapshot *cache.Snapshot) *cache.Snapshot {
	part := &cache.Snapshot{}
	for _, kind := range keptTypes() {
		var all []types.Resource
		for name, item := range snapshot.GetResources(kind) {
			if b.names[kind][name] {
				all = append(all, item)
			}
		}
		part.Resources[cache.GetResponseType(kind)] = cache.NewResources("", all)
	}
	return part
}

// caughtUp looks whether an Envoy has what its routes wait for. The caller holds s.mu.
func (s *status) caughtUp(c *conversation) {
	b := &c.brought
	if b.wait == nil || b.waited || b.wait.answered || !c.took(b.wait, s.now().Add(-s.patience)) {
		return
	}
	b.wait.answered = true
	b.wait.timer.Stop()
	if !b.wait.byName {
		b.waited = true
		c.pass.wake(resource.RouteType)
		return
	}
	b.wait.timer = time.AfterFunc(stageNames, func() { s.release(c) })
}

// release gives an Envoy its routes, whatever it has.
func (s *status) release(c *conversation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.brought.waited {
		c.brought.waited = true
		c.pass.wake(resource.RouteType)
	}
}
