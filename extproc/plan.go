package extproc

import (
	"sync/atomic"

	"github.com/postern-proxy/postern/config"
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

// NewPlan compiles a configuration version.
func NewPlan(cfg *config.Config) *Plan {
	p := &Plan{version: cfg.Version, entries: make(map[string][]Stage, len(cfg.Models))}
	for name, m := range cfg.Models {
		p.entries[name] = stages(name, m, cfg.Providers)
	}
	return p
}

// stages are what an entry asks for, in the order in which they run: judge what
// the client sent, before anything is added to it.
func stages(name string, m *config.Model, providers map[string]*config.Provider) []Stage {
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
	if config.Picks(route, providers) {
		all = append(all, NewPick(name, route, providers))
	}
	return all
}

// kept is how many versions are remembered: a request is judged by the one that
// it was routed with, even if others came meanwhile.
const kept = 8

// History holds the plans of the last versions. It is safe for concurrent use;
// readers take no lock.
type History struct {
	plans atomic.Pointer[[]*Plan] // the newest first
}

var _ Plans = (*History)(nil)

// Add makes plan the newest. Only one goroutine at a time may add.
func (h *History) Add(plan *Plan) {
	next := []*Plan{plan}
	if old := h.plans.Load(); old != nil {
		for _, p := range *old {
			if p.version != plan.version && len(next) < kept {
				next = append(next, p)
			}
		}
	}
	h.plans.Store(&next)
}

// Plan finds a version.
func (h *History) Plan(version string) *Plan {
	if plans := h.plans.Load(); plans != nil {
		for _, p := range *plans {
			if p.version == version {
				return p
			}
		}
	}
	return nil
}
