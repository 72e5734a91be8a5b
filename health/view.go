package health

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// View is what is known of a provider, or of one of its models, at one moment.
type View struct {
	Provider string
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

	// Outcomes in the window (Settings.Window); those of a provider are of all models.
	Good, Failed, Limited int
}

// Limit says that it wants to be left alone now.
func (v *View) Limit(now time.Time) bool { return v.LimitedUntil.After(now) }

// Views are all of them, by provider and model, each provider itself first.
func (t *Tracker) Views() []View {
	all := t.table.Load()
	now := t.settings.Now()
	views := make([]View, 0, len(all.cells))
	for _, c := range all.cells {
		views = append(views, c.view(now, &all.settings))
	}
	slices.SortFunc(views, func(a, b View) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model))
	})
	return views
}

func (c *cell) view(now time.Time, s *Settings) View {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pass(now)
	in := c.window.sum(now, s.Window)
	v := View{
		Provider: c.key.provider, Model: c.key.model,
		State: c.state, Since: c.since,
		Class: c.class, ErrorAt: c.erred, GoodAt: c.worked, HeardAt: c.heard,
		FirstByte: c.firstByte.duration(), MeasuredAt: c.firstByte.at, Samples: c.firstByte.samples,
		PerToken: c.perToken.duration(),
		Good:     int(in.good), Failed: int(in.failed), Limited: int(in.limited),
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
