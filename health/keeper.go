package health

import (
	"context"
	"time"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/usage/price"
)

// Keeper keeps the order of all routes up to date: it looks when a state changed, and
// now and then because time changes things too.
type Keeper struct {
	Config  func() *config.Config // the version in use
	Tracker *Tracker              // Configured by the Keeper, whenever the version is another
	// Prices are for prefer: cost; nil, or a nil table: no price is known.
	Prices func() *price.Table
	// Push takes a plan that is another than the last one, and the configuration that it
	// is of: all entries that are not in it are tried as configured. It is called by one
	// goroutine, and may keep the plan. After an error it is called again at the next
	// look.
	Push func(cfg *config.Config, plan Plan) error
	// Answers asks Envoy what it counted. A breaker that would open waits a moment for it,
	// and opens if it fails, or if few are answered well; see confirm. nil: it does not
	// wait.
	Answers func(ctx context.Context) (Answers, error)
	// Every is how often time is looked at; default 500ms.
	Every time.Duration
}

// gather is how long a change waits for others, so that a provider that dies is one
// push and not one for each of its models.
const gather = 50 * time.Millisecond

// Run pushes until ctx ends. Its error is always nil, so that it can stand in a group
// of those that have one.
func (k *Keeper) Run(ctx context.Context) error {
	every := k.Every
	atLeast(&every, 500*time.Millisecond)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	keeping := keeping{Keeper: k}
	if k.Answers != nil {
		k.Tracker.confirms()
	}
	for {
		var again <-chan time.Time
		if k.Answers != nil {
			again = keeping.suspect(ctx)
		}
		keeping.look()
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-ticker.C:
		case <-k.Tracker.Changed():
			if !pauseFor(ctx, gather) {
				return nil
			}
		}
	}
}

// pauseFor waits; false if ctx ended meanwhile.
func pauseFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// keeping is a Keeper at work.
type keeping struct {
	*Keeper

	config *config.Config
	memory Memory
	last   Plan
	failed bool // the last push did
}

// suspect looks at those that are about to open, and says when to look again; nil: there
// are none.
func (k *keeping) suspect(ctx context.Context) <-chan time.Time {
	some, wait := k.Tracker.suspects()
	if some && wait == 0 {
		k.confirm(ctx)
		some, wait = k.Tracker.suspects()
	}
	if !some {
		return nil
	}
	return time.After(wait)
}

// confirm asks Envoy what speaks for those that are about to open.
func (k *keeping) confirm(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, confirmingMost/2)
	defer cancel()
	answers, err := k.Answers(ctx)
	if err != nil {
		answers = nil
	}
	k.Tracker.confirm(answers)
}

// look pushes the plan if it is another. After a new configuration it is pushed in any
// case: who takes it may have begun that one with a plan of its own.
func (k *keeping) look() {
	cfg := k.Config()
	if cfg == nil {
		return
	}
	fresh := cfg != k.config
	if fresh {
		k.config = cfg
		k.Tracker.Configure(cfg)
	}
	var prices *price.Table
	if k.Prices != nil {
		prices = k.Prices()
	}
	var plan Plan
	plan, k.memory = Order(cfg, k.Tracker.Views(), prices, k.Tracker.settings.Now(), k.memory)
	if plan.Equal(k.last) && !fresh && !k.failed {
		return
	}
	k.last = plan
	k.failed = k.Push(cfg, plan) != nil
}
