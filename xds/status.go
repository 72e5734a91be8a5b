package xds

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	adsserver "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc/codes"
	rpcstatus "google.golang.org/grpc/status"
)

// Status is what the Envoys said of the configuration.
type Status struct {
	Offered string  `json:"offered"` // the version that is served
	Envoys  []Envoy `json:"envoys"`  // those that are connected, the oldest first
	// Gone are those that were connected lately, the last to go first: at most
	// 100, for an hour.
	Gone []Envoy `json:"gone,omitempty"`
}

// Envoy is one Envoy's conversation with the control plane.
type Envoy struct {
	Node     string            `json:"node"`
	Cluster  string            `json:"cluster,omitempty"`
	Names    []string          `json:"names,omitempty"` // in its certificate; none over the Unix socket
	Since    time.Time         `json:"since"`
	Until    time.Time         `json:"until,omitzero"`    // when it went; zero while it is here
	Accepted map[string]string `json:"accepted"`          // resource type → last version it took
	Waiting  []string          `json:"waiting,omitempty"` // types that were sent and not yet answered
	Refused  []Refusal         `json:"refused,omitempty"`
	Refusals int               `json:"refusals"` // how often it refused anything
}

// Refusal is a NACK: a version that Envoy did not take, and why. Envoy keeps what
// it had. It stands until Envoy has taken all that it refused in another form.
type Refusal struct {
	Type      string    `json:"type"`
	Version   string    `json:"version"`
	Resources []string  `json:"resources,omitempty"` // at most 20
	Reason    string    `json:"reason"`
	At        time.Time `json:"at"`
}

const (
	mostGone    = 100
	goneFor     = time.Hour
	mostRefused = 20 // resources of a Refusal that are shown
	mostPending = 64 // unanswered responses of one Envoy that are remembered
)

// keeper decides who of a fleet may come in. Its methods are called without a lock.
type keeper interface {
	enter(ctx context.Context, cluster string, names []string) error // it may wait, until ctx ends
	allowed(cluster string, names []string) error
	leave(cluster string)
}

// status listens to the conversation with each Envoy.
type status struct {
	adsserver.CallbackFuncs
	log   *slog.Logger
	now   func() time.Time
	guard keeper // nil where everybody may come

	broughtLeast time.Duration // the constant, but for tests
	patience     time.Duration // how long routes wait for clusters: stageMost, or ownMost

	// heard is called, without a lock, after an Envoy has answered or gone, with
	// its cluster; empty over the Unix socket.
	heard func(cluster string)

	mu      sync.Mutex
	offered string
	streams map[int64]*conversation
	asking  map[*discovery.DeltaDiscoveryRequest]*conversation // requests on their way to the cache
	gone    []Envoy                                            // the last to go comes last

	refusal func(kind string) // told of each; may be nil
}

// conversation is one ADS stream.
type conversation struct {
	ctx      context.Context //nolint:containedctx // the stream's
	pass     *pass           // nil in some tests
	node     string
	cluster  string
	names    []string
	inside   bool // the guard let it in
	since    time.Time
	asked    map[string]bool // types
	secrets  map[string]bool // that it has, by name
	asks     *discovery.DeltaDiscoveryRequest
	pending  map[string]sent // by nonce
	accepted map[string]string
	refused  map[string]*refused // by type
	refusals int
	brought  brought
}

// sent is a response that was not answered yet.
type sent struct {
	kind, version string
	at            time.Time
	resources     []string // with those that are to go
	removed       []string // of them, those that are
}

// refused is a Refusal with the resources that may be its reason.
type refused struct {
	Refusal

	suspects map[string]bool
}

var _ adsserver.Callbacks = (*status)(nil)

func newStatus(log *slog.Logger) *status {
	return &status{
		log: log, now: time.Now, broughtLeast: broughtLeast, patience: stageMost, streams: map[int64]*conversation{},
		asking: map[*discovery.DeltaDiscoveryRequest]*conversation{},
	}
}

func (s *status) offer(snapshot *cache.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offered = snapshot.GetVersion(resource.RouteType)
}

// OnDeltaStreamOpen notes a new Envoy.
func (s *status) OnDeltaStreamOpen(ctx context.Context, id int64, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[id] = &conversation{
		ctx: ctx, pass: passOf(ctx), names: namesIn(ctx), since: s.now(),
		pending: map[string]sent{}, accepted: map[string]string{}, refused: map[string]*refused{},
		asked: map[string]bool{}, secrets: map[string]bool{},
	}
	return nil
}

// OnDeltaStreamClosed remembers for a while that an Envoy was here.
func (s *status) OnDeltaStreamClosed(id int64, _ *core.Node) {
	c := s.close(id)
	if c == nil {
		return
	}
	if c.inside {
		s.guard.leave(c.cluster)
	}
	s.tell(c)
}

// tell says that an Envoy has spoken, or gone.
func (s *status) tell(c *conversation) {
	switch {
	case s.heard == nil:
	case s.guard == nil:
		s.heard("")
	case c.cluster != "":
		s.heard(c.cluster)
	}
}

func (s *status) close(id int64) *conversation {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.streams[id]
	if c == nil {
		return nil
	}
	delete(s.streams, id)
	delete(s.asking, c.asks)
	c.brought.forget()
	if c.node != "" {
		e := c.envoy()
		e.Until = s.now()
		s.gone = append(s.gone, e)
		s.gone = s.gone[max(0, len(s.gone)-mostGone):]
	}
	return c
}

// OnStreamDeltaResponse notes what was sent under which nonce.
func (s *status) OnStreamDeltaResponse(id int64, _ *discovery.DeltaDiscoveryRequest, r *discovery.DeltaDiscoveryResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.streams[id]
	if c == nil || len(c.pending) >= mostPending {
		return
	}
	one := sent{kind: shortType(r.GetTypeUrl()), version: r.GetSystemVersionInfo(), at: s.now(), removed: r.GetRemovedResources()}
	for _, item := range r.GetResources() {
		one.resources = append(one.resources, item.GetName())
	}
	one.resources = append(one.resources, r.GetRemovedResources()...)
	c.pending[r.GetNonce()] = one
}

// OnStreamDeltaRequest lets a new Envoy in, or ends its stream, and reads an
// acknowledgement or a refusal.
func (s *status) OnStreamDeltaRequest(id int64, r *discovery.DeltaDiscoveryRequest) error {
	c, err := s.introduce(id, r)
	if c == nil || err != nil {
		return err
	}
	if s.guard != nil {
		if err := s.admit(c); err != nil {
			if c.ctx.Err() == nil { // it is still there to be turned away
				s.turnedAway(c, err)
			}
			return err
		}
	}
	s.listen(c, r)
	s.tell(c)
	return nil
}

func (s *status) turnedAway(c *conversation, why error) {
	s.log.Warn("an Envoy was turned away", "node", c.node, "cluster", c.cluster, "certificate", c.names, "reason", why.Error())
}

// withdraw ends the streams that the judge finds to have no right to their cluster.
func (s *status) withdraw(judge func(cluster string, names []string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.streams {
		if !c.inside || c.pass == nil {
			continue
		}
		if err := judge(c.cluster, c.names); err != nil {
			s.turnedAway(c, err)
			c.pass.withdraw(err)
		}
	}
}

func (s *status) listen(c *conversation, r *discovery.DeltaDiscoveryRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asking, c.asks)
	c.asks = r
	s.asking[r] = c
	if kind := shortType(r.GetTypeUrl()); !c.asked[kind] {
		c.asked[kind] = true
		c.brought.note(r.GetTypeUrl(), r.GetInitialResourceVersions())
	}
	if r.GetTypeUrl() == resource.SecretType {
		for name := range r.GetInitialResourceVersions() { // from before it came here
			c.secrets[name] = true
		}
	}
	s.hear(c, r)
	s.caughtUp(c)
}

// introduce notes who speaks. An Envoy says it once, and stays who it is: its cluster
// decides what it gets.
func (s *status) introduce(id int64, r *discovery.DeltaDiscoveryRequest) (*conversation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.streams[id]
	if c == nil || r.GetNode() == nil {
		return c, nil
	}
	node, cluster := r.GetNode().GetId(), r.GetNode().GetCluster()
	if c.inside && cluster != c.cluster {
		return nil, rpcstatus.Error(codes.InvalidArgument, "node.cluster has changed within a stream")
	}
	c.cluster = cluster
	if node != "" {
		c.node = node
	}
	return c, nil
}

// admit asks the guard. Only the stream's own goroutine calls it.
func (s *status) admit(c *conversation) error {
	if c.inside {
		return s.guard.allowed(c.cluster, c.names)
	}
	if err := s.guard.enter(c.ctx, c.cluster, c.names); err != nil {
		return err
	}
	s.mu.Lock()
	c.inside = true
	s.mu.Unlock()
	// From here on a configuration that takes the right away finds it; one that came
	// just before did not.
	return s.guard.allowed(c.cluster, c.names)
}

// hear reads what an Envoy says of a response. The caller holds s.mu.
func (s *status) hear(c *conversation, r *discovery.DeltaDiscoveryRequest) {
	answered, known := c.pending[r.GetResponseNonce()]
	if !known {
		return
	}
	delete(c.pending, r.GetResponseNonce())
	if detail := r.GetErrorDetail(); detail != nil {
		s.note(c, answered, detail.GetMessage())
		return
	}
	c.accepted[answered.kind] = answered.version
	if answered.kind == shortType(resource.SecretType) {
		for _, name := range answered.resources {
			c.secrets[name] = true
		}
		for _, name := range answered.removed {
			delete(c.secrets, name)
		}
	}
	if before := c.refused[answered.kind]; before != nil {
		for _, name := range answered.resources {
			delete(before.suspects, name)
		}
		if len(before.suspects) == 0 {
			delete(c.refused, answered.kind)
		}
	}
}

// note keeps a refusal. Envoy takes what is good of a response and refuses the rest,
// so that only those it names are held to be refused, if it names any.
func (s *status) note(c *conversation, answered sent, text string) {
	c.refusals++
	if s.refusal != nil {
		s.refusal(answered.kind)
	}
	suspects := map[string]bool{}
	for _, name := range answered.resources {
		if strings.Contains(text, name) {
			suspects[name] = true
		}
	}
	if len(suspects) == 0 {
		for _, name := range answered.resources {
			suspects[name] = true
		}
	}
	if before := c.refused[answered.kind]; before != nil {
		for name := range before.suspects {
			suspects[name] = true
		}
	}
	why := reason(text)
	if answered.kind == "Secret" { // Envoy may print what it refused
		why = "the secret is not valid (a certificate or key that is no PEM, or do not belong together)"
	}
	c.refused[answered.kind] = &refused{suspects: suspects, Refusal: Refusal{
		Type: answered.kind, Version: answered.version, Reason: why, At: s.now(),
	}}
	s.log.Error("Envoy refused a configuration and keeps the one before",
		"node", c.node, "type", answered.kind, "version", answered.version, "reason", why)
}

// settled notes that an Envoy has all of a type that the version has for it: nothing
// had to be sent.
func (s *status) settled(r *discovery.DeltaDiscoveryRequest, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.asking[r]
	kind := shortType(r.GetTypeUrl())
	if c == nil || c.refused[kind] != nil || version == "" {
		return
	}
	c.accepted[kind] = version
}

// noting tells a status of the requests that need no response, and has an Envoy that
// comes back changed as carefully as one that is there (see brought). It holds an Envoy that
// comes before the first snapshot: one that has all of it already, from before a
// restart of the control plane, would not answer to it, and nobody would know.
type noting struct {
	cache.SnapshotCache

	status  *status
	key     cache.NodeHash
	keep    func(key string) time.Duration // of what its version no longer names
	ready   <-chan struct{}                // there is a snapshot
	stopped <-chan struct{}
}

// CreateDeltaWatch is the cache's.
func (n noting) CreateDeltaWatch(r *cache.DeltaRequest, sub cache.Subscription, to chan cache.DeltaResponse) (func(), error) {
	select {
	case <-n.ready:
	case <-n.stopped:
		return nil, rpcstatus.Error(codes.Unavailable, "the control plane stops")
	}
	version, key := "", n.key.ID(r.GetNode())
	if snapshot, err := n.GetSnapshot(key); err == nil {
		version = snapshot.GetVersion(r.GetTypeUrl())
		n.status.spare(r, sub.ReturnedResources(), snapshot, n.keep(key))
		if full, ok := snapshot.(*cache.Snapshot); ok && n.status.holds(r, full) {
			return nil, nil //nolint:nilnil // no watch yet, and nothing wrong
		}
	}
	cancel, err := n.SnapshotCache.CreateDeltaWatch(r, sub, to)
	if err == nil && cancel != nil { // it waits for the next version
		n.status.settled(r, version)
	}
	return cancel, err
}

func (s *status) get() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := Status{Offered: s.offered, Envoys: []Envoy{}}
	here := map[[2]string]bool{}
	for _, c := range s.streams {
		all.Envoys = append(all.Envoys, c.envoy())
		here[[2]string{c.node, c.cluster}] = true
	}
	sort.Slice(all.Envoys, func(i, j int) bool { return all.Envoys[i].Since.Before(all.Envoys[j].Since) })
	for _, e := range slices.Backward(s.gone) {
		who := [2]string{e.Node, e.Cluster}
		if !here[who] && s.now().Sub(e.Until) < goneFor {
			here[who] = true
			all.Gone = append(all.Gone, e)
		}
	}
	return all
}

// envoy is a copy for others to read.
func (c *conversation) envoy() Envoy {
	e := Envoy{
		Node: c.node, Cluster: c.cluster, Names: c.names, Since: c.since,
		Accepted: map[string]string{}, Refusals: c.refusals,
	}
	maps.Copy(e.Accepted, c.accepted)
	for _, one := range c.pending {
		e.Waiting = append(e.Waiting, one.kind)
	}
	sort.Strings(e.Waiting)
	for _, one := range c.refused {
		shown := one.Refusal
		if suspects := names(one.suspects); len(suspects) > 0 {
			shown.Resources = suspects[:min(len(suspects), mostRefused)]
		}
		e.Refused = append(e.Refused, shown)
	}
	sort.Slice(e.Refused, func(i, j int) bool { return e.Refused[i].Type < e.Refused[j].Type })
	return e
}

// reason is the end of what Envoy says, in one line: it may print the whole
// refused resource before it.
func reason(text string) string {
	const most = 600
	text = strings.Join(strings.Fields(text), " ")
	if _, after, found := strings.Cut(text, "} : "); found {
		text = after
	}
	if len(text) > most {
		text = "…" + strings.ToValidUTF8(text[len(text)-most:], "")
	}
	return text
}

// Refused says that an Envoy refused a part of what is offered now, and why.
func (s Status) Refused() error {
	for _, e := range s.Envoys {
		for _, r := range e.Refused {
			return fmt.Errorf("Envoy refused the %s of version %s: %s", r.Type, r.Version, r.Reason)
		}
	}
	return nil
}

// shortType is a type URL's last word: "Cluster", "RouteConfiguration".
func shortType(url string) string { return url[strings.LastIndexAny(url, "./")+1:] }
