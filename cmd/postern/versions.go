package main

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/usage"
	"github.com/postern-proxy/postern/usage/price"
)

// mostVersions is how many versions are remembered, as many as extproc has: the log tells
// of a request once it has ended, under the version that routed it.
const mostVersions = 8

// versions are the last configurations, the newest first. Readers take no lock; only one
// goroutine at a time may add.
type versions struct{ all atomic.Pointer[[]*version] }

// version is what is asked of a configuration for each request.
type version struct {
	cfg     *config.Config
	prices  *price.Table
	targets map[string]bool // names that providers are asked for
	known   sync.Map        // entryFacts by name, each worked out once
}

type entryFacts struct {
	name       string // that all providers share; empty: they do not
	understood bool
}

func newVersion(cfg *config.Config, table *price.Table) *version {
	v := &version{cfg: cfg, prices: table, targets: map[string]bool{}}
	for _, m := range cfg.Models {
		for _, group := range m.Route {
			for _, target := range group {
				v.targets[target.Model] = true
			}
		}
	}
	return v
}

func (a *versions) add(v *version) {
	next := []*version{v}
	if old := a.all.Load(); old != nil {
		for _, other := range *old {
			if other.cfg.Version != v.cfg.Version && len(next) < mostVersions {
				next = append(next, other)
			}
		}
	}
	a.all.Store(&next)
}

// of finds a version by its name. A request without one, or of one that is forgotten, is
// taken for one of the newest.
func (a *versions) of(name string) *version {
	all := *a.all.Load()
	for _, v := range all {
		if v.cfg.Version == name {
			return v
		}
	}
	return all[0]
}

// sharedName is the name by which all providers of an entry are asked for it.
func (a *versions) sharedName(version, entry, asked string) string {
	name := a.of(version).entry(entry).name
	if stem, isPattern := strings.CutSuffix(entry, "*"); isPattern {
		name = strings.Replace(name, "*", strings.TrimPrefix(asked, stem), 1)
	}
	return name
}

// understood says that an entry's bodies are read.
func (a *versions) understood(version, entry string) bool {
	return a.of(version).entry(entry).understood
}

func (a *versions) pricesOf(version string) usage.Prices { return a.of(version).prices }

// known says that a request's model may be a label: it is configured, or has a price. A
// name that only a price list knows must have been answered, or clients could make up
// dates without end.
func (a *versions) known(r *usage.Request) bool {
	v := (*a.all.Load())[0]
	if v.targets[r.Model] {
		return true
	}
	if _, there := v.cfg.Models[r.Model]; there {
		return true
	}
	return r.Status > 0 && r.Status < http.StatusBadRequest && v.prices.Known(r.Provider, r.Model)
}

// system is OpenTelemetry's name of a provider.
func (a *versions) system(provider string) string {
	if p := (*a.all.Load())[0].cfg.Providers[provider]; p != nil && p.System() != "" {
		return p.System()
	}
	return provider
}

func (v *version) entry(name string) entryFacts {
	if known, ok := v.known.Load(name); ok {
		return known.(entryFacts) //nolint:forcetypeassert // nothing else is put in
	}
	its := v.cfg.Models[name]
	if its == nil { // names that are not configured are not remembered
		return entryFacts{}
	}
	shared, _ := config.SharedName(name, its.UsableRoute(v.cfg.Providers))
	facts := entryFacts{name: shared, understood: its.Understood(name, v.cfg.Providers)}
	v.known.Store(name, facts)
	return facts
}
