package main

import (
	"context"
	"time"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/extproc"
	"github.com/postern-proxy/postern/xds"
)

// apply compiles cfg and makes it the one that all parts use. On an error
// everything stays as it was.
func (g *gate) apply(ctx context.Context, cfg *config.Config) error {
	snapshot, err := xds.Build(xds.Input{
		Config:  cfg,
		JWKS:    g.signer.JWKS(),
		Trust:   g.trust,
		Sockets: xds.Sockets{Answer: g.sockets.answer, Demo: g.sockets.demo, Process: append([]string{g.sockets.process}, g.sockets.replicas...)},
	})
	if err != nil {
		return err
	}
	keep := longestTotal(cfg, g.config.Load())
	g.config.Store(cfg)
	// Before Envoy hears of the version: its requests are judged by this plan.
	g.plans.Add(extproc.NewPlan(cfg))
	g.budget.Resize(int64(cfg.Extproc.Memory))
	boundMemory(cfg)
	return g.xds.Set(ctx, snapshot, keep)
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

// watch applies each change of the configuration file, and keeps the last good
// version when a change is not good.
func (g *gate) watch(ctx context.Context) error {
	return config.Watcher{File: g.place.config, Current: g.config.Load(), Notify: func(cfg *config.Config, err error) {
		if err == nil {
			err = g.change(ctx, cfg)
		}
		if err != nil {
			text := err.Error()
			g.lastError.Store(&text)
			g.log.Error("the configuration was not changed: the last good version stays", "version", g.config.Load().Version, "reason", text)
			return
		}
		g.lastError.Store(nil)
	}}.Run(ctx)
}

// change applies a new version to the running gate.
func (g *gate) change(ctx context.Context, cfg *config.Config) error {
	before := g.config.Load()
	if cfg.Listen.Address != before.Listen.Address || (cfg.Listen.TLS == nil) != (before.Listen.TLS == nil) {
		// The listener is one constant skeleton: to change it would cut
		// every running stream, so only a restart does.
		g.log.Warn("listen.address and switching listen.tls on or off take effect at the next start; everything else is applied now")
		kept := *cfg
		kept.Listen.Address, kept.Listen.TLS = before.Listen.Address, before.Listen.TLS
		cfg = &kept
	}
	warn(g.log, cfg)
	if err := g.apply(ctx, cfg); err != nil {
		return err
	}
	g.log.Info("configuration changed", "from", before.Version, "to", cfg.Version)
	return nil
}
