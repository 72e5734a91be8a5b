package health

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// View is what is known of a provider, of one of its models, of one of its keys, or of a
// model with one of the keys, at one moment. Of a provider with several keys, the provider
// and its models are Open, or limited, also where they are with each of the keys.
type View struct {
	Provider string
	Key      string // config.Credential.Place, where the provider has several; empty: all of them
	Model    string // as configured, with its *; empty: the provider itself

	State State
	Since time.Time // of the state; zero: not known
	// Until is when an Open breaker lets the next attempt try, unless a probe says more.
	Until time.Time
	// LimitedUntil is until when it asked to be left alone (429); zero: it did not.
	LimitedUntil time.Time

	Class   Class     // of the last failure or limit; empty: there was none
	ErrorAt time.Time // when that was heard of
	GoodAt  time.Time // when it last answered, a client or a probe
	HeardAt time.Time // when a client's attempt was last heard of

	FirstByte  time.Duration // moving average; 0: not known
	MeasuredAt time.Time     // when it last moved
	Samples    uint64        // that ever went into it
	PerToken   time.Duration // moving average of an attempt's duration per output token
	Pace       time.Duration // the same of what follows the first byte; 0: not measured enough

	// Outcomes in the window (Settings.Window); those of a provider are of all models.
	Good, Failed, Limited int
}

// Limit says that it wants to be left alone now.
func (v *View) Limit(now time.Time) bool { return v.LimitedUntil.After(now) }

// Views are all of them, by provider, model and key, each provider itself first.
func (t *Tracker) Views() []View {
	all := t.table.Load()
	now := t.settings.Now()
	views := make([]View, 0, len(all.cells))
	for _, c := range all.cells {
		views = append(views, c.view(now, &all.settings))
	}
	slices.SortFunc(views, func(a, b View) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model),
			cmp.Compare(len(a.Key), len(b.Key)), cmp.Compare(a.Key, b.Key))
	})
	for i := range views {
		if keys := len(all.providers[views[i].Provider].accounts); keys > 0 && views[i].Key == "" {
			views[i].follow(views, i, keys, now)
		}
	}
	return views
}

// follow has the view of a provider or a model, which stands at a place before those of
// its keys, be as bad as the best of those. What is a key's own for all models stands with
// the provider, before all models.
func (v *View) follow(views []View, at, keys int, now time.Time) {
	first := at
	for views[first].Model != "" {
		first -= keys + 1
	}
	var best *View
	for i := 1; i <= keys; i++ {
		its := &views[at+i]
		if of := &views[first+i]; of.standing(now).compare(its.standing(now)) > 0 {
			its = of
		}
		if best == nil || its.standing(now).compare(best.standing(now)) < 0 {
			best = its
		}
	}
	switch s := best.standing(now); {
	case s.compare(v.standing(now)) <= 0:
	case s.rank == down:
		v.State, v.Since, v.Until = Open, best.Since, best.Until
	case s.rank == limited:
		v.LimitedUntil = best.LimitedUntil
	}
}

func (c *cell) view(now time.Time, s *Settings) View {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pass(now)
	in := c.window.sum(now, s.Window)
	v := View{
		Provider: c.key.provider, Key: c.key.account, Model: c.key.model,
		State: c.state, Since: c.since,
		Class: c.class, ErrorAt: c.erred, GoodAt: c.worked, HeardAt: c.heard,
		FirstByte: c.firstByte.duration(), MeasuredAt: c.firstByte.at, Samples: c.firstByte.samples,
		PerToken: c.perToken.duration(),
		Good:     int(in.good), Failed: int(in.failed), Limited: int(in.limited),
	}
	if c.pace.samples >= enoughSamples {
		v.Pace = max(1, c.pace.duration())
	}
	if c.state == Open {
		v.Until = c.until
	}
	if c.limit.After(now) {
		v.LimitedUntil = c.limit
	}
	return v
}

func sortedKeys[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }
