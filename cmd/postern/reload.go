package main

import (
	"context"
	"slices"
	"time"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/extproc"
	"github.com/postern-proxy/postern/health"
	"github.com/postern-proxy/postern/xds"
)

// apply compiles cfg and makes it the one that all parts use. On an error
// everything stays as it was.
func (g *gate) apply(ctx context.Context, cfg *config.Config) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.handed.add(cfg) // before Envoy hears of it
	table, err := prices(cfg)
	if err != nil {
		return err
	}
	plan := g.planFor(cfg, table)
	own, fleet, err := g.compile(cfg, plan)
	if err != nil {
		return err
	}
	// Before Envoy hears of the version: its requests are judged by this plan. Those
	// that it goes on with meanwhile, because it refuses what is new, stay known.
	for _, e := range g.xds.Status().Envoys {
		g.plans.Plan(e.Routing())
	}
	g.plans.Add(extproc.NewPlan(cfg, table))
	if err := g.publish(ctx, own, fleet, longestTotal(cfg, g.config.Load())); err != nil {
		return err
	}
	g.plan = plan
	g.config.Store(cfg)
	g.meters.adopt(cfg, table)
	g.budget.Resize(int64(cfg.Extproc.Memory))
	boundMemory(cfg)
	return nil
}

// here says that Envoys of a cluster are connected, or were lately.
func (g *gate) here(cluster string) bool {
	status := g.xds.Status()
	return slices.ContainsFunc(slices.Concat(status.Envoys, status.Gone), func(e xds.Envoy) bool { return e.Cluster == cluster })
}

// compile makes the snapshots of a configuration whose routes are tried by a plan: the
// gate's own and the fleet's.
func (g *gate) compile(cfg *config.Config, plan health.Plan) (own xds.View, fleet map[string]xds.View, err error) {
	in := xds.Input{
		Config: cfg,
		JWKS:   g.signer.Load().JWKS(),
		Trust:  g.trust,
		Order:  plan.Order,
		Rest:   plan.Rest,
		Stands: plan.Stands,

		Unmetered: g.unmetered,
		Module:    g.module,

		Sockets: xds.Sockets{Answer: g.sockets.answer, Demo: g.sockets.demo, Usage: g.sockets.usage, Records: g.sockets.records, Process: append([]string{g.sockets.process}, g.sockets.replicas...)},
	}
	if own.Snapshot, err = xds.Build(in); err != nil {
		return own, nil, err
	}
	fleet, err = g.fleetViews(in)
	return own, fleet, err
}

// longestTotal is how long a request may run that was routed by any of these
// versions; until then no cluster may go.
func longestTotal(versions ...*config.Config) time.Duration {
	longest := time.Minute
	for _, cfg := range versions {
		for _, m := range cfg.Models {
			longest = max(longest, time.Duration(m.Timeouts.Total))
		}
	}
	return longest
}

// watch applies each change that the configuration's source tells of, and keeps the
// last good version when a change is not good.
func (g *gate) watch(ctx context.Context) error {
	return g.source.watch(ctx, g.config.Load(), func(cfg *config.Config, err error) error {
		if err == nil {
			err = g.change(ctx, cfg)
		}
		if err != nil {
			text := err.Error()
			g.lastError.Store(&text)
			g.log.Error("the configuration was not changed: the last good version stays", "version", g.config.Load().Version, "reason", text)
			return err
		}
		g.lastError.Store(nil)
		return nil
	})
}

// change applies a new version to the running gate.
func (g *gate) change(ctx context.Context, cfg *config.Config) error {
	before := g.config.Load()
	kept, moved := cfg.WithDoorsOf(before, g.here)
	if moved || (cfg.Listen.TLS == nil) != (before.Listen.TLS == nil) {
		// The listener is one constant skeleton: to change it would cut
		// every running stream, so only a restart does.
		g.log.Warn("listen.address, address and services of a cluster whose Envoys are running, and switching listen.tls on or off, take effect at the next start; everything else is applied now")
		if (cfg.Listen.TLS == nil) != (before.Listen.TLS == nil) {
			kept.Listen.TLS = before.Listen.TLS
		}
		cfg = kept
	}
	warn(g.log, cfg)
	if err := g.judge(ctx, cfg); err != nil {
		return err
	}
	if err := g.apply(ctx, cfg); err != nil {
		return err
	}
	g.log.Info("configuration changed", "from", before.Version, "to", cfg.Version)
	return nil
}

// watchKeys has Envoy know the signing keys of the data folder, until ctx ends.
func (g *gate) watchKeys(ctx context.Context) {
	access.Watch(ctx, g.data, g.signer.Load(), func(next *access.Signer, err error) {
		if err == nil {
			err = g.changeKeys(ctx, next)
		}
		if err != nil && ctx.Err() == nil {
			g.log.Error("the signing keys were not changed: those before stay in force", "reason", err.Error())
		}
	})
}

// changeKeys makes next the signing keys that are verified.
func (g *gate) changeKeys(ctx context.Context, next *access.Signer) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	before, cfg := g.signer.Swap(next), g.config.Load()
	own, fleet, err := g.compile(cfg, g.plan)
	if err == nil {
		err = g.publish(ctx, own, fleet, longestTotal(cfg))
	}
	if err != nil {
		g.signer.Store(before)
		return err
	}
	g.log.Info("the signing keys changed", "signs", next.KeyID(), "earlier", next.Earlier())
	_, err = next.Development(g.data, time.Now()) // the one before may have been retired
	return err
}
