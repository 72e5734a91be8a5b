package extproc

import (
	"slices"
	"sync/atomic"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/usage/price"
)

// Plan is one configuration version, made ready for requests: the stages of each
// entry. It does not change.
type Plan struct {
	version string
	entries map[string][]Stage
}

// Entry gives the stages of a model's entry; known is false if the version has no
// such entry.
func (p *Plan) Entry(name string) (stages []Stage, known bool) {
	stages, known = p.entries[name]
	return stages, known
}

// NewPlan compiles a configuration version, with the prices that are its. They may be nil,
// and no price is known then.
func NewPlan(cfg *config.Config, prices *price.Table) *Plan {
	p := &Plan{version: cfg.Version, entries: make(map[string][]Stage, len(cfg.Models))}
	for name, m := range cfg.Models {
		p.entries[name] = stages(name, m, cfg.Providers, prices)
	}
	return p
}

// stages are what an entry asks for, in the order in which they run: judge what
// the client sent, before anything is added to it.
func stages(name string, m *config.Model, providers map[string]*config.Provider, prices *price.Table) []Stage {
	var all []Stage
	if m.Validate == config.ValidateStrict {
		all = append(all, Strict{})
	}
	if m.System != "" {
		all = append(all, NewSystem(m.System))
	}
	if m.Usage == config.UsageExact {
		all = append(all, AskUsage{})
	}
	route := m.UsableRoute(providers)
	if to, _ := config.SharedName(name, route); to != "" {
		all = append(all, Rename{Pattern: name, To: to})
	}
	if m.Arranges(name, providers) {
		if m.Prefer != config.PreferCost {
			prices = nil
		}
		all = append(all, NewPick(name, route, providers, prices))
	}
	return all
}

// kept is how many versions are remembered: a request is judged by the one that it was
// routed with, even if others came meanwhile, and an Envoy that refuses a version goes on
// with the one that it has.
const kept = 128

// History holds the plans of versions: the newest, and those that were asked for last. It
// is safe for concurrent use; readers take no lock.
type History struct {
	plans atomic.Pointer[[]*remembered] // the newest first
	turn  atomic.Int64                  // how many were added
}

// remembered is a plan and when it was of use last.
type remembered struct {
	plan *Plan
	used atomic.Int64 // the turn
}

var _ Plans = (*History)(nil)

// Add makes plan the newest. Where there are too many, the one goes that has gone
// without being asked for the longest. Only one goroutine at a time may add.
func (h *History) Add(plan *Plan) {
	first := &remembered{plan: plan}
	first.used.Store(h.turn.Add(1))
	next := []*remembered{first}
	if old := h.plans.Load(); old != nil {
		for _, r := range *old {
			if r.plan.version != plan.version {
				next = append(next, r)
			}
		}
	}
	if len(next) > kept {
		idle := len(next) - 1 // of those that are as idle the oldest
		for i, r := range slices.Backward(next) {
			if r.used.Load() < next[idle].used.Load() {
				idle = i
			}
		}
		next = slices.Delete(next, idle, idle+1)
	}
	h.plans.Store(&next)
}

// Plan finds a version.
func (h *History) Plan(version string) *Plan {
	plans := h.plans.Load()
	if plans == nil {
		return nil
	}
	for _, r := range *plans {
		if r.plan.version != version {
			continue
		}
		if turn := h.turn.Load(); r.used.Load() != turn { // a write that all cores hear of: once a turn
			r.used.Store(turn)
		}
		return r.plan
	}
	return nil
}
