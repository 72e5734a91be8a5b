package xds

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sort"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	adsserver "github.com/envoyproxy/go-control-plane/pkg/server/v3"
)

// Status is what the connected Envoys said of the configuration.
type Status struct {
	Offered string  `json:"offered"` // the version that is served
	Envoys  []Envoy `json:"envoys"`
}

// Envoy is one connected Envoy.
type Envoy struct {
	Node     string            `json:"node"`
	Since    time.Time         `json:"since"`
	Accepted map[string]string `json:"accepted"` // resource type → last version it took
	Refused  []Refusal         `json:"refused,omitempty"`
	Refusals int               `json:"refusals"` // how often it refused anything
}

// Refusal is a NACK: a version that Envoy did not take, and why. Envoy keeps what
// it had.
type Refusal struct {
	Type    string    `json:"type"`
	Version string    `json:"version"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// status listens to the conversation with each Envoy.
type status struct {
	adsserver.CallbackFuncs
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	offered string
	streams map[int64]*conversation
}

// conversation is one ADS stream.
type conversation struct {
	node     string
	since    time.Time
	pending  map[string]sent // by nonce
	accepted map[string]string
	refused  map[string]Refusal // by type
	refusals int
}

type sent struct{ kind, version string }

var _ adsserver.Callbacks = (*status)(nil)

func newStatus(log *slog.Logger) *status {
	return &status{log: log, now: time.Now, streams: map[int64]*conversation{}}
}

func (s *status) offer(snapshot *cache.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offered = snapshot.GetVersion(resource.RouteType)
}

// OnDeltaStreamOpen notes a new Envoy.
func (s *status) OnDeltaStreamOpen(_ context.Context, id int64, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[id] = &conversation{
		since: s.now(), pending: map[string]sent{}, accepted: map[string]string{}, refused: map[string]Refusal{},
	}
	return nil
}

// OnDeltaStreamClosed forgets an Envoy that went away.
func (s *status) OnDeltaStreamClosed(id int64, _ *core.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, id)
}

// OnStreamDeltaResponse notes what was sent under which nonce.
func (s *status) OnStreamDeltaResponse(id int64, _ *discovery.DeltaDiscoveryRequest, r *discovery.DeltaDiscoveryResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.streams[id]; c != nil {
		c.pending[r.GetNonce()] = sent{kind: shortType(r.GetTypeUrl()), version: r.GetSystemVersionInfo()}
	}
}

// OnStreamDeltaRequest reads an acknowledgement or a refusal.
func (s *status) OnStreamDeltaRequest(id int64, r *discovery.DeltaDiscoveryRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.streams[id]
	if c == nil {
		return nil
	}
	if name := r.GetNode().GetId(); name != "" {
		c.node = name
	}
	answered, known := c.pending[r.GetResponseNonce()]
	if !known {
		return nil
	}
	delete(c.pending, r.GetResponseNonce())
	detail := r.GetErrorDetail()
	if detail == nil {
		c.accepted[answered.kind] = answered.version
		delete(c.refused, answered.kind)
		return nil
	}
	c.refusals++
	why := reason(detail.GetMessage())
	if answered.kind == "Secret" { // Envoy may print what it refused
		why = "the secret is not valid (a certificate or key that is no PEM, or do not belong together)"
	}
	c.refused[answered.kind] = Refusal{Type: answered.kind, Version: answered.version, Reason: why, At: s.now()}
	s.log.Error("Envoy refused a configuration and keeps the one before",
		"node", c.node, "type", answered.kind, "version", answered.version, "reason", why)
	return nil
}

func (s *status) get() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := Status{Offered: s.offered, Envoys: []Envoy{}}
	for _, c := range s.streams {
		e := Envoy{Node: c.node, Since: c.since, Accepted: map[string]string{}, Refusals: c.refusals}
		maps.Copy(e.Accepted, c.accepted)
		for _, refusal := range c.refused {
			e.Refused = append(e.Refused, refusal)
		}
		sort.Slice(e.Refused, func(i, j int) bool { return e.Refused[i].Type < e.Refused[j].Type })
		all.Envoys = append(all.Envoys, e)
	}
	sort.Slice(all.Envoys, func(i, j int) bool { return all.Envoys[i].Since.Before(all.Envoys[j].Since) })
	return all
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
