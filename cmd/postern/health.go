package main

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/health"
	"github.com/postern-proxy/postern/usage"
	"github.com/postern-proxy/postern/usage/price"
)

// attempted takes an attempt that failed, before its request ends.
func (m *meters) attempted(a *usage.Attempt) {
	if !a.Open {
		m.tracker.Observe(outcomeOf(a))
	}
}

// finished takes the attempt that only its request's entry tells of: all others were
// told of early.
func (m *meters) finished(r *usage.Request) {
	if len(r.Attempts) == 0 {
		return
	}
	last := &r.Attempts[len(r.Attempts)-1]
	if !last.Implied {
		return
	}
	o := outcomeOf(last)
	if r.Tokens.Output.Source == usage.Exact {
		o.OutputTokens = r.Tokens.Output.N
	}
	m.tracker.Observe(o)
}

// outcomeOf is what an attempt says of its provider.
func outcomeOf(a *usage.Attempt) health.Outcome {
	o := health.Outcome{
		Provider: a.Provider, Model: a.Model, Entry: a.Route,
		At: a.Time, FirstByte: a.FirstByte, Duration: a.Duration,
		RetryAfter: health.RetryAfter(a.RetryAfter, time.Now()),
	}
	o.Result, o.Class = health.Judge(a.Status, a.Flags, a.Details, a.Aborted)
	if o.Result == health.Good && a.Blame == usage.Provider {
		o.Result, o.Class = health.Failed, health.Malformed // its answer began well
	}
	if o.Result == health.Failed {
		switch {
		case a.Nowhere:
			o.Class = health.NoHost
		case a.Blame == usage.Gateway && o.Class != health.BadKey && o.Class != health.Forbidden:
			o.Result, o.Class = health.Ignored, health.Ours
		}
	}
	return o
}

// keep has the order of providers follow from their health, and asks those that nobody
// uses, until ctx ends.
func (g *gate) keep(ctx context.Context, group *errgroup.Group) {
	keeper := health.Keeper{
		Config: g.config.Load, Tracker: g.meters.tracker, Prices: g.meters.prices.Load,
		Push: func(order map[string][]int) { g.reorder(ctx, order) },
	}
	prober := health.Prober{Config: g.config.Load, Tracker: g.meters.tracker, Ask: g.probes.ask}
	group.Go(func() error { return keeper.Run(ctx) })
	group.Go(func() error { return prober.Run(ctx) })
}

// reorder has Envoy try the groups of routes in another order.
func (g *gate) reorder(ctx context.Context, order map[string][]int) {
	g.changing.Lock()
	defer g.changing.Unlock()
	cfg, before := g.config.Load(), g.order
	changed := changedOrders(before, order)
	if len(changed) == 0 {
		return
	}
	own, fleet, err := g.compile(cfg, order)
	if err == nil {
		err = g.publish(ctx, own, fleet, longestTotal(cfg))
	}
	if err != nil {
		if ctx.Err() == nil {
			g.log.Error("the order of providers was not changed", "reason", err)
		}
		return
	}
	g.order = order
	g.log.Info("the order of providers changed", "models", len(changed), "such as", changed[0], "first now", firstOf(cfg, changed[0], order))
}

// changedOrders are the entries that two orders differ in.
func changedOrders(before, after map[string][]int) []string {
	var changed []string
	for entry, order := range after {
		if !slices.Equal(before[entry], order) {
			changed = append(changed, entry)
		}
	}
	for entry := range before {
		if after[entry] == nil {
			changed = append(changed, entry)
		}
	}
	slices.Sort(changed)
	return changed
}

// firstOf names the providers of the group that an entry's requests go to first.
func firstOf(cfg *config.Config, entry string, order map[string][]int) string {
	its := cfg.Models[entry]
	if its == nil {
		return ""
	}
	route, first := its.UsableRoute(cfg.Providers), 0
	if len(order[entry]) == len(route) && len(route) > 0 {
		first = order[entry][0]
	}
	if first >= len(route) {
		return ""
	}
	return providersOf(route[first])
}

// orderFor is the order with which a new configuration begins: what is in force, for
// the routes that it does not change, and for the others what is known now. The keeper
// comes a moment later and goes on from there.
func (g *gate) orderFor(cfg *config.Config, table *price.Table) map[string][]int {
	before := g.config.Load()
	order, _ := health.Order(cfg, g.meters.tracker.Views(), table, time.Now(), nil)
	for entry, its := range cfg.Models {
		was := before.Models[entry]
		if was == nil || was.Prefer != its.Prefer ||
			!reflect.DeepEqual(was.UsableRoute(before.Providers), its.UsableRoute(cfg.Providers)) {
			continue
		}
		if known, ordered := g.order[entry]; ordered {
			order[entry] = known
		} else if cfg != before {
			delete(order, entry)
		}
	}
	return order
}

// probes remembers what each provider answered when it was asked last.
type probes struct {
	mu   sync.Mutex
	last map[string]health.Outcome
}

func (p *probes) ask(ctx context.Context, name string, its *config.Provider) health.Outcome {
	o := health.Ask(ctx, name, its)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string]health.Outcome{}
	}
	p.last[name] = o
	return o
}

// of is the last answer of each provider that is configured; others are forgotten.
func (p *probes) of(cfg *config.Config) map[string]health.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.last, func(name string, _ health.Outcome) bool { return cfg.Providers[name] == nil })
	return maps.Clone(p.last)
}
