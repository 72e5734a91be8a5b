package health

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/postern-proxy/postern/config"
)

// Prober asks providers whether they are there (Ask), so that one that nobody uses is
// known before it is needed, and one that came back is noticed. Each is asked once at the
// begin, so that it is known whether it has a list of models at all: one that had is
// believed when it fails to give it. After that a provider that clients' attempts tell of
// is left in peace. A builtin provider is not asked: it is
// Postern itself; neither is one whose API has no list of models.
type Prober struct {
	Config  func() *config.Config // the version in use
	Tracker *Tracker
	// Every is how long a provider may be unheard of; default is what the configuration
	// says, or 15s, less up to a fifth by chance. One whose breaker is not closed is asked
	// more often, at three quarters of Settings.Open, less up to a fifth: before the next
	// attempt of a client tries. It runs from the begin of a probe, which may last longer.
	Every time.Duration
	// Timeout bounds a probe; default is what the configuration says, or 5s.
	Timeout time.Duration
	// AtOnce is how many probes there may be at a time; default 16. Who waits for a place
	// gets it in turn.
	AtOnce int
	// Ask asks one provider; default Ask.
	Ask func(ctx context.Context, name string, p *config.Provider) []Outcome
}

// Run asks until ctx ends, and returns when the last probe has. Its error is always nil,
// so that it can stand in a group of those that have one.
func (p *Prober) Run(ctx context.Context) error {
	round := round{Prober: *p, visits: map[string]*visit{}, done: make(chan answer)}
	atLeast(&round.AtOnce, 16)
	if round.Ask == nil {
		round.Ask = Ask
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if cfg := round.Config(); cfg != nil && ctx.Err() == nil {
			if round.adopt(cfg) {
				ticker.Reset(min(time.Second, max(10*time.Millisecond, round.soon/10)))
			}
			round.begin(ctx, cfg)
		}
		select {
		case <-ctx.Done():
			for round.running > 0 {
				<-round.done
				round.running--
			}
			return nil
		case a := <-round.done:
			round.end(ctx, a)
		case <-ticker.C:
		}
	}
}

// round is a Prober at work.
type round struct {
	Prober

	config  *config.Config
	every   time.Duration // between questions, as the configuration wants it
	soon    time.Duration // the same, for a provider that is not well
	timeout time.Duration
	visits  map[string]*visit
	running int
	done    chan answer
}

// visit is when a provider is asked.
type visit struct {
	provider *config.Provider
	next     time.Time
	asked    time.Time // when it was last
	fresh    bool      // it was not asked yet
	busy     bool
}

type answer struct {
	name     string
	of       *config.Provider
	outcomes []Outcome
}

// adopt takes what a new configuration says of probes.
func (r *round) adopt(cfg *config.Config) (fresh bool) {
	if cfg == r.config {
		return false
	}
	r.config = cfg
	r.every, r.timeout = r.Every, r.Timeout
	atLeast(&r.every, time.Duration(cfg.Health.Probe))
	if cfg.Health.Probe != config.Never {
		atLeast(&r.every, 15*time.Second)
	}
	atLeast(&r.timeout, time.Duration(cfg.Health.ProbeTimeout))
	atLeast(&r.timeout, 5*time.Second)
	r.soon = min(r.every, with(r.Tracker.settings, cfg.Health).Open*3/4)
	soonest := r.Tracker.settings.Now().Add(lately(r.every))
	for _, v := range r.visits {
		if v.next.After(soonest) {
			v.next = soonest
		}
	}
	return true
}

// begin asks those whose time it is, first those whose time it has been for the longest:
// providers that are slow to fail keep nobody else from being asked.
func (r *round) begin(ctx context.Context, cfg *config.Config) {
	for name, v := range r.visits {
		if !v.busy && !askable(cfg.Providers[name]) {
			delete(r.visits, name)
		}
	}
	now := r.Tracker.settings.Now()
	if r.every < 0 {
		return // the configuration wants none asked
	}
	var due []string
	for _, name := range sortedKeys(cfg.Providers) {
		if its := cfg.Providers[name]; askable(its) && r.due(name, its, now) {
			due = append(due, name)
		}
	}
	slices.SortStableFunc(due, func(a, b string) int { return r.visits[a].next.Compare(r.visits[b].next) })
	for _, name := range due[:min(len(due), r.AtOnce-r.running)] {
		r.ask(ctx, name, cfg.Providers[name], now)
	}
}

// due says that a provider is asked now, and else when.
func (r *round) due(name string, its *config.Provider, now time.Time) bool {
	v := r.visits[name]
	if v == nil {
		v = &visit{}
		r.visits[name] = v
	}
	switch {
	case v.provider == its:
	case reflect.DeepEqual(v.provider, its):
		v.provider = its
	default: // soon after the start, or a change of it
		v.provider, v.fresh = its, true
		v.next = now.Add(rand.N(min(time.Second, r.soon/4))) //nolint:gosec // so that not all are asked at one time
	}
	heard, troubled, opened := r.Tracker.glance(name)
	if opened.After(v.asked) {
		if first := opened.Add(lately(r.soon)); first.Before(v.next) {
			v.next = first
		}
	}
	if v.busy || now.Before(v.next) {
		return false
	}
	if !troubled && now.Sub(heard) < r.every && !v.fresh {
		v.next = heard.Add(r.every)
		return false
	}
	return true
}

func (r *round) ask(ctx context.Context, name string, its *config.Provider, now time.Time) {
	v := r.visits[name]
	v.busy, v.asked, v.fresh = true, now, false
	r.running++
	timeout := r.timeout
	go func() {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		o := r.Ask(ctx, name, its)
		r.done <- answer{name, its, o}
	}()
}

// end takes an answer, and plans the next question. The answer of a provider that was
// configured anew meanwhile says nothing, nor does one that the end cut short.
func (r *round) end(ctx context.Context, a answer) {
	r.running--
	v := r.visits[a.name]
	v.busy = false
	if !reflect.DeepEqual(v.provider, a.of) || ctx.Err() != nil {
		return
	}
	for _, o := range a.outcomes {
		r.Tracker.Observe(o)
	}
	wait := r.every
	if _, troubled, _ := r.Tracker.glance(a.name); troubled {
		wait = r.soon
	}
	v.next = v.asked.Add(lately(wait)) // from its begin: a question that hangs does not put off the next one
}

// lately is a little less than d, so that gates do not ask in step.
func lately(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.2*rand.Float64())) //nolint:gosec // nobody gains by guessing it
}
