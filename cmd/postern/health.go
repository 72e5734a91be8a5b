package main

import (
	"cmp"
	"context"
	"maps"
	"net/http"
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

// statusOverloaded is what some providers answer in the place of a 503.
const statusOverloaded = 529

// outcomeOf is what an attempt says of its provider.
func outcomeOf(a *usage.Attempt) health.Outcome {
	o := health.Outcome{
		Provider: a.Provider, Key: a.Account, Model: cmp.Or(a.Target, a.Model), Entry: a.Route,
		At: a.Time, FirstByte: a.FirstByte, Duration: a.Duration,
	}
	o.Result, o.Class = health.Judge(a.Status, a.Flags, a.Details, a.Aborted)
	switch {
	case o.Result == health.Good && a.Failed != "": // its answer began well
		o.Result, o.Class = health.Broken(a.Failed)
	case o.Result == health.Good && a.Blame == usage.Provider:
		o.Result, o.Class = health.Failed, health.Malformed
	case o.Class == health.Mistake && usage.Throttled(a.Refused):
		o.Result, o.Class = health.Limited, health.TooMany
	}
	if o.Result == health.Limited || a.Status == http.StatusServiceUnavailable || a.Status == statusOverloaded {
		o.RetryAfter = health.RetryAfter(a.RetryAfter, time.Now())
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
		Push: func(cfg *config.Config, plan health.Plan) error { return g.follow(ctx, cfg, plan) },
	}
	if !g.unmetered {
		keeper.Answers = func(ctx context.Context) (health.Answers, error) { return g.meters.envoy.Answered(ctx) }
	}
	prober := health.Prober{Config: g.config.Load, Tracker: g.meters.tracker, Ask: g.probes.ask}
	group.Go(func() error { return keeper.Run(ctx) })
	group.Go(func() error { return prober.Run(ctx) })
}

// follow has Envoy try routes by another plan. A plan for a configuration that is not in
// use any more is passed over: one for its successor comes.
func (g *gate) follow(ctx context.Context, cfg *config.Config, plan health.Plan) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	if cfg != g.config.Load() {
		return nil
	}
	changed := changedPlans(g.plan, plan)
	if len(changed) == 0 {
		return nil
	}
	own, fleet, err := g.compile(cfg, plan)
	if err == nil {
		err = g.publish(ctx, own, fleet, longestTotal(cfg))
	}
	if err != nil {
		if reason := err.Error(); ctx.Err() == nil && reason != g.unmoved { // it is tried again soon
			g.log.Error("the order of providers was not changed", "reason", err)
			g.unmoved = reason
		}
		return err
	}
	g.plan, g.unmoved = plan, ""
	g.log.Info("the order of providers changed", "models", len(changed), "such as", changed[0],
		"first now", firstOf(cfg, changed[0], plan), "resting", len(plan.Rest[changed[0]]))
	return nil
}

// changedPlans are the entries that two plans differ in.
func changedPlans(before, after health.Plan) []string {
	changed := append(differing(before.Order, after.Order), differing(before.Rest, after.Rest)...)
	changed = append(changed, differing(before.Stands, after.Stands)...)
	slices.Sort(changed)
	return slices.Compact(changed)
}

func differing[V comparable](before, after map[string][]V) []string {
	var all []string
	for entry, its := range after {
		if !slices.Equal(before[entry], its) {
			all = append(all, entry)
		}
	}
	for entry := range before {
		if after[entry] == nil {
			all = append(all, entry)
		}
	}
	return all
}

// firstOf names the providers that an entry's requests go to first.
func firstOf(cfg *config.Config, entry string, plan health.Plan) string {
	its := cfg.Models[entry]
	if its == nil {
		return ""
	}
	route, first := its.UsableRoute(cfg.Providers), 0
	if order := plan.Order[entry]; len(order) == len(route) && len(route) > 0 {
		first = order[0]
	}
	if first >= len(route) {
		return ""
	}
	used := slices.DeleteFunc(slices.Clone(route[first]), func(t config.Target) bool {
		return !slices.ContainsFunc(t.Members(cfg.Providers[t.Provider]), func(m config.Member) bool {
			return !slices.Contains(plan.Rest[entry], m)
		})
	})
	if len(used) == 0 {
		used = route[first]
	}
	return providersOf(used)
}

// planFor is the plan with which a new configuration begins: what is in force, for
// the routes that it does not change, and for the others what is known now. The keeper
// comes a moment later and goes on from there.
func (g *gate) planFor(cfg *config.Config, table *price.Table) health.Plan {
	before := g.config.Load()
	plan, _ := health.Order(cfg, g.meters.tracker.Views(), table, time.Now(), nil)
	for entry, its := range cfg.Models {
		was := before.Models[entry]
		if was == nil || was.Prefer != its.Prefer ||
			!reflect.DeepEqual(was.UsableRoute(before.Providers), its.UsableRoute(cfg.Providers)) {
			continue
		}
		if known, ordered := g.plan.Order[entry]; ordered {
			plan.Order[entry] = known
		} else if cfg != before {
			delete(plan.Order, entry)
		}
	}
	return plan
}

// probes remembers what each provider answered when it was asked last.
type probes struct {
	mu   sync.Mutex
	last map[string]health.Outcome
}

func (p *probes) ask(ctx context.Context, name string, its *config.Provider) []health.Outcome {
	all := health.Ask(ctx, name, its)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string]health.Outcome{}
	}
	p.last[name] = health.Sum(all)
	return all
}

// of is the last answer of each provider that is configured; others are forgotten.
func (p *probes) of(cfg *config.Config) map[string]health.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.last, func(name string, _ health.Outcome) bool { return cfg.Providers[name] == nil })
	return maps.Clone(p.last)
}
