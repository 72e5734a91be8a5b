package health

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-proxy/postern/config"
)

// Tracker keeps the state of each configured provider, and of each model that a
// configured target has there. What it holds is bounded by the configuration: models
// that clients name by a pattern share the pattern's state.
type Tracker struct {
	settings Settings // before a configuration says others
	table    atomic.Pointer[table]
	changed  chan struct{}

	configuring sync.Mutex
}

// table is the cells of one configuration. It does not change; its cells do.
type table struct {
	settings  Settings
	providers map[string]*provider
	cells     map[key]*cell
	entries   map[key]*cell // by provider and entry, where only one target fits
}

// provider is one of them and its models.
type provider struct {
	config   *config.Provider
	own      *cell
	models   []*cell
	patterns []pattern // the longest first
}

// pattern is a configured name with a *.
type pattern struct {
	before, after string
	cell          *cell
}

func (p pattern) fits(model string) bool {
	return len(model) >= len(p.before)+len(p.after) && strings.HasPrefix(model, p.before) && strings.HasSuffix(model, p.after)
}

// NewTracker makes a Tracker that knows no provider yet.
func NewTracker(s Settings) *Tracker {
	t := &Tracker{settings: withDefaults(s), changed: make(chan struct{}, 1)}
	t.table.Store(&table{settings: t.settings})
	return t
}

// Configure takes the providers and models of a configuration, and its settings. What was
// known of a provider stays as long as nothing about it changes; a new address or
// credential begins anew.
func (t *Tracker) Configure(cfg *config.Config) {
	t.configuring.Lock()
	defer t.configuring.Unlock()
	before := t.table.Load()
	next := &table{settings: with(t.settings, cfg.Health), providers: map[string]*provider{}, cells: map[key]*cell{}, entries: map[key]*cell{}}
	now := t.settings.Now()
	for name, its := range cfg.Providers {
		p := &provider{config: its}
		next.providers[name] = p
		p.own = next.cell(before, key{name, ""}, now)
	}
	for _, entry := range sortedKeys(cfg.Models) {
		for _, group := range cfg.Models[entry].Route {
			for _, target := range group {
				next.add(before, entry, target, now)
			}
		}
	}
	for _, p := range next.providers {
		slices.SortFunc(p.patterns, func(a, b pattern) int {
			return cmp.Or(
				cmp.Compare(len(b.before)+len(b.after), len(a.before)+len(a.after)),
				cmp.Compare(a.cell.key.model, b.cell.key.model))
		})
	}
	t.table.Store(next)
	t.wake()
}

// add makes room for a target.
func (t *table) add(before *table, entry string, target config.Target, now time.Time) {
	p := t.providers[target.Provider]
	if p == nil {
		return // a validated configuration has none
	}
	at := keyOf(entry, target)
	c := t.cells[at]
	if c == nil {
		c = t.cell(before, at, now)
		p.models = append(p.models, c)
		if start, end, isPattern := strings.Cut(at.model, "*"); isPattern {
			p.patterns = append(p.patterns, pattern{start, end, c})
		}
	}
	place := key{target.Provider, entry}
	if other, known := t.entries[place]; known && other != c {
		c = nil // the entry has two models there: it does not tell which
	}
	t.entries[place] = c
}

// keyOf is the name of a target's cell: the model as configured, with its *.
func keyOf(entry string, target config.Target) key {
	return key{target.Provider, cmp.Or(target.Model, entry)}
}

// cell is the one of before, if its provider is the same, or a new one.
func (t *table) cell(before *table, at key, now time.Time) *cell {
	c := before.cells[at]
	if old := before.providers[at.provider]; c == nil || !reflect.DeepEqual(old.config, t.providers[at.provider].config) {
		c = &cell{key: at, state: Closed, since: now}
	} else if before.settings.Window != t.settings.Window {
		c.recount()
	}
	t.cells[at] = c
	return c
}

// Observe takes the outcome of an attempt, or of a probe. It keeps nobody waiting. An
// outcome of a provider that is not configured says nothing.
func (t *Tracker) Observe(o Outcome) {
	all := t.table.Load()
	p := all.providers[o.Provider]
	if p == nil {
		return
	}
	now := t.settings.Now()
	changed := false
	if o.Probe {
		changed = p.probed(&o, now, &all.settings)
	} else {
		c := all.find(p, &o)
		if c != nil {
			changed = c.note(&o, true, now, &all.settings)
		}
		// A model's failure is the provider's only if it is of that kind: one broken
		// model must not take the others with it.
		changed = p.own.note(&o, c == nil || o.Result == Failed && o.Class.wide(), now, &all.settings) || changed
	}
	if changed {
		t.wake()
	}
}

// probed takes the answer to a probe. A list of models that was never good says only
// what is wide: the list may be broken where the models are not, and must not keep them
// out of use. But if it gets good after that, something was mended.
func (p *provider) probed(o *Outcome, now time.Time, s *Settings) (changed bool) {
	if o.Result == Failed && !o.Class.wide() && !p.own.isListed() {
		p.own.show(o, now)
		for _, c := range p.models {
			c.doubt()
		}
		return false
	}
	changed = p.own.probed(o, now, s)
	for _, c := range p.models {
		changed = c.probed(o, now, s) || changed
	}
	return changed
}

// find is the cell of the model that an outcome speaks of; nil: the provider's alone.
func (t *table) find(p *provider, o *Outcome) *cell {
	if o.Model == "" {
		return t.entries[key{o.Provider, o.Entry}]
	}
	if c := t.cells[key{o.Provider, o.Model}]; c != nil {
		return c
	}
	for i := range p.patterns {
		if p.patterns[i].fits(o.Model) {
			return p.patterns[i].cell
		}
	}
	return nil
}

// Changed has a value after an outcome or a configuration changed a state. There is
// one value for any number of changes, and one reader. Changes that time alone
// makes, the end of an open breaker or of a limit, are seen by who looks.
func (t *Tracker) Changed() <-chan struct{} { return t.changed }

func (t *Tracker) wake() {
	select {
	case t.changed <- struct{}{}:
	default: // somebody was woken and has not looked yet
	}
}

// glance is what a Prober asks: when a client's attempt was heard of last, whether
// anything is not closed, and since when the newest open breaker is.
func (t *Tracker) glance(name string) (heard time.Time, troubled bool, opened time.Time) {
	p := t.table.Load().providers[name]
	if p == nil {
		return heard, false, opened
	}
	now := t.settings.Now()
	look := func(c *cell) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pass(now)
		if c.heard.After(heard) {
			heard = c.heard
		}
		troubled = troubled || c.state != Closed
		if c.state == Open && c.since.After(opened) {
			opened = c.since
		}
	}
	look(p.own)
	for _, c := range p.models {
		look(c)
	}
	return heard, troubled, opened
}
