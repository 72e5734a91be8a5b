package health

import (
	"context"
	"maps"
	"slices"
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
	// Push takes an order that is another than the last one: all entries that are not
	// in it have the configured order. It is called by one goroutine, and may keep the
	// order, which is not changed again. An order may be one configuration version
	// late: who takes it ignores what is no permutation of its route's groups.
	Push func(order map[string][]int)
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
	for {
		keeping.look()
		select {
		case <-ctx.Done():
			return nil
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
	last   map[string][]int
}

// look pushes the order if it is another. After a new configuration it is pushed in any
// case: who takes it may have begun that one with an order of its own.
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
	var order map[string][]int
	order, k.memory = Order(cfg, k.Tracker.Views(), prices, k.Tracker.settings.Now(), k.memory)
	same := maps.EqualFunc(order, k.last, slices.Equal)
	if same && !fresh {
		return
	}
	k.last = order
	k.Push(order)
}
