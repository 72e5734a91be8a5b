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
	confirming  bool // a Keeper confirms what opens; guarded by configuring
}

// table is the cells of one configuration. It does not change; its cells do.
type table struct {
	settings  Settings
	providers map[string]*provider
	cells     map[key]*cell
	entries   map[key][]*cell // by provider and entry: those of its targets there
}

// provider is one of them and its models.
type provider struct {
	config   *config.Provider
	own      *cell
	models   []*cell
	patterns []pattern           // the longest first
	accounts map[string]*account // by key, where it has several
	all      []*cell
}

// account is one of a provider's several keys.
type account struct {
	own    *cell
	models []*cell // in the order of the provider's
}

// of is the cell of a model of the provider with this key.
func (a *account) of(model string) *cell {
	for _, c := range a.models {
		if c.key.model == model {
			return c
		}
	}
	return a.own
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
// credential begins anew. A provider with several keys has a state of each, and of each
// model with each.
func (t *Tracker) Configure(cfg *config.Config) {
	t.configuring.Lock()
	defer t.configuring.Unlock()
	before := t.table.Load()
	next := &table{settings: with(t.settings, cfg.Health), providers: map[string]*provider{}, cells: map[key]*cell{}, entries: map[key][]*cell{}}
	next.settings.confirm = t.confirming
	now := t.settings.Now()
	for name, its := range cfg.Providers {
		p := &provider{config: its}
		next.providers[name] = p
		p.own = next.cell(before, key{provider: name}, now)
		credentials := its.Credentials()
		if len(credentials) < 2 {
			continue
		}
		p.accounts = make(map[string]*account, len(credentials))
		for _, c := range credentials {
			p.accounts[c.Place] = &account{own: next.cell(before, key{provider: name, account: c.Place}, now)}
		}
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
		for place, a := range p.accounts {
			a.models = append(a.models, t.cell(before, key{at.provider, place, at.model}, now))
		}
		if start, end, isPattern := strings.Cut(at.model, "*"); isPattern {
			p.patterns = append(p.patterns, pattern{start, end, c})
		}
	}
	if place := (key{provider: target.Provider, model: entry}); !slices.Contains(t.entries[place], c) {
		t.entries[place] = append(t.entries[place], c)
	}
}

// keyOf is the name of a target's cell: the model as configured, with its *.
func keyOf(entry string, target config.Target) key {
	return key{provider: target.Provider, model: cmp.Or(target.Model, entry)}
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
	p := t.providers[at.provider]
	p.all = append(p.all, c)
	return c
}

// confirms has breakers that would open wait until confirm is called.
func (t *Tracker) confirms() {
	t.configuring.Lock()
	defer t.configuring.Unlock()
	t.confirming = true
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
	var changed bool
	if o.Probe {
		changed = p.probed(&o, now, &all.settings)
	} else {
		changed = p.attempted(&o, all.find(p, &o), now, &all.settings)
	}
	if changed {
		t.wake()
	}
}

// attempted takes the outcome of an attempt at a model; nil: at one that is not known.
// What speaks of the key is evidence against that key alone, where there are others. A
// model's failure is the provider's only if it is of that kind: one broken model must not
// take the others with it.
func (p *provider) attempted(o *Outcome, c *cell, now time.Time, s *Settings) (changed bool) {
	keyed := p.accounts != nil && o.Class.keyed()
	wide := o.Result == Failed && (o.Class.wide() || o.Class == BadKey)
	if c != nil {
		changed = c.note(o, !keyed, now, s)
	}
	changed = p.own.note(o, !keyed && (c == nil || wide), now, s) || changed
	if a := p.accounts[o.Key]; a != nil {
		changed = a.attempted(o, c, now, s) || changed
	}
	return changed
}

// attempted takes what an attempt says of the key.
func (a *account) attempted(o *Outcome, c *cell, now time.Time, s *Settings) (changed bool) {
	its := a.own
	if c != nil {
		its = a.of(c.key.model)
	}
	switch {
	case o.Result == Good:
		changed = a.own.note(o, true, now, s)
		if its != a.own {
			changed = its.note(o, true, now, s) || changed
		}
	case o.Class == BadKey:
		changed = a.own.note(o, true, now, s)
	case o.Class.keyed():
		changed = its.note(o, true, now, s)
	}
	return changed
}

// probed takes the answer to a probe. A list of models that was never good says only
// that the provider is not reached: the list may be broken, or nothing for this key,
// where the models are not, and must not keep them out of use. But if it gets good after
// that, something was mended.
func (p *provider) probed(o *Outcome, now time.Time, s *Settings) (changed bool) {
	a, refused := p.accounts[o.Key], p.accounts != nil && o.Class == BadKey
	if a != nil && (o.Result == Good || refused) {
		changed = probed(a.own, a.models, o, now, s)
	}
	if refused { // the other keys are asked too
		return changed
	}
	return probed(p.own, p.models, o, now, s) || changed
}

// probed is that for a provider, or a key, and its models.
func probed(own *cell, models []*cell, o *Outcome, now time.Time, s *Settings) (changed bool) {
	if o.Result == Failed && !o.Class.wide() && !own.isListed() {
		own.show(o, now)
		for _, c := range models {
			c.doubt()
		}
		return false
	}
	changed = own.probed(o, now, s)
	for _, c := range models {
		changed = c.probed(o, now, s) || changed
	}
	return changed
}

// find is the cell of the model that an outcome speaks of; nil: the provider's alone. The
// entry comes before the name, so that all that is heard of one target meets in one cell:
// a failure is heard of before it is known what a pattern's * stands for.
func (t *table) find(p *provider, o *Outcome) *cell {
	if its := t.entries[key{provider: o.Provider, model: o.Entry}]; o.Entry != "" && len(its) > 0 {
		return oneOf(its, o.Model)
	}
	if o.Model == "" {
		return nil
	}
	if c := t.cells[key{provider: o.Provider, model: o.Model}]; c != nil {
		return c
	}
	for i := range p.patterns {
		if p.patterns[i].fits(o.Model) {
			return p.patterns[i].cell
		}
	}
	return nil
}

// oneOf is which of an entry's cells a name is of: the one that has it as it is
// configured, or else the longest pattern that it fits.
func oneOf(its []*cell, model string) *cell {
	if len(its) == 1 {
		return its[0]
	}
	var found *cell
	for _, c := range its {
		before, after, isPattern := strings.Cut(c.key.model, "*")
		switch {
		case c.key.model == model:
			return c
		case isPattern && (pattern{before: before, after: after}).fits(model) && (found == nil || len(found.key.model) < len(c.key.model)):
			found = c
		}
	}
	return found
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
// anything of it is not closed, and since when the newest open breaker is.
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
	for _, c := range p.all {
		look(c)
	}
	return heard, troubled, opened
}
