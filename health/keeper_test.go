package health

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/usage/price"
)

// kept runs a Keeper in a bubble, whose time stands still while everybody waits.
type kept struct {
	tracker *Tracker
	config  atomic.Pointer[config.Config]
	prices  atomic.Pointer[price.Table]
	pushes  chan map[string][]int
}

func keep(t *testing.T, cfg *config.Config) *kept {
	t.Helper()
	k := &kept{
		tracker: NewTracker(Settings{Jitter: func() float64 { return 0.5 }}),
		pushes:  make(chan map[string][]int, 100),
	}
	k.config.Store(cfg)
	keeper := Keeper{
		Config: k.config.Load, Prices: k.prices.Load, Tracker: k.tracker,
		Push: func(_ *config.Config, plan Plan) error { k.pushes <- plan.Order; return nil },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- keeper.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	synctest.Wait()
	require.Len(t, k.pushes, 1, "the first configuration is told in any case")
	assert.Empty(t, <-k.pushes)
	return k
}

// within is the next push, which must come so soon, and be the only one.
func (k *kept) within(t *testing.T, d time.Duration) map[string][]int {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	require.Len(t, k.pushes, 1)
	return <-k.pushes
}

func (k *kept) quiet(t *testing.T, d time.Duration) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	require.Empty(t, k.pushes)
}

func TestAKeeperPushesWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, three("order"))
		k.quiet(t, time.Minute)
		several(5, failed("a", "m", Server), k.tracker)
		assert.Equal(t, map[string][]int{"m": {1, 2, 0}}, k.within(t, 200*time.Millisecond))
		k.quiet(t, 4*time.Second)
		assert.Empty(t, k.within(t, time.Second+500*time.Millisecond), "half-open, by time alone")
		k.tracker.Observe(good("a", "m"))
		k.quiet(t, time.Minute)
		k.tracker.Observe(Outcome{Provider: "a", Model: "m", Result: Limited, Class: TooMany, RetryAfter: 10 * time.Second})
		assert.Equal(t, map[string][]int{"m": {1, 2, 0}}, k.within(t, 200*time.Millisecond))
		assert.Empty(t, k.within(t, 11*time.Second))
	})
}

func TestManyChangesAreFewPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries := map[string]groups{}
		for _, name := range []string{"k", "l", "m", "n", "o", "p"} {
			entries[name] = groups{{to("a")}, {to("b")}}
		}
		k := keep(t, configure("order", entries))
		k.quiet(t, time.Second)
		for name := range entries {
			several(5, failed("a", name, Server), k.tracker)
			synctest.Wait()
		}
		assert.Len(t, k.within(t, 200*time.Millisecond), 6)
	})
}

func TestAKeeperFollowsConfigurationAndPrices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, three("cost"))
		k.quiet(t, time.Second)
		table, err := price.Load(price.Settings{Quotes: map[string]price.Quote{
			"a/m": {Input: "2", Output: "2"}, "b/m": {Input: "1", Output: "1"},
		}})
		require.NoError(t, err)
		k.prices.Store(table)
		assert.Equal(t, map[string][]int{"m": {1, 0, 2}}, k.within(t, 500*time.Millisecond))
		k.config.Store(three("cost"))
		assert.Equal(t, map[string][]int{"m": {1, 0, 2}}, k.within(t, 500*time.Millisecond), "a new configuration is told in any case")
		k.config.Store(three("order"))
		assert.Empty(t, k.within(t, 500*time.Millisecond))
		k.config.Store(three("order"))
		assert.Empty(t, k.within(t, 500*time.Millisecond), "and so is the order as configured")
		k.quiet(t, time.Minute)
	})
}

func TestAKeeperWaitsForAConfigurationAndNeedsNoPrices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := NewTracker(Settings{})
		var cfg atomic.Pointer[config.Config]
		pushes := make(chan map[string][]int, 10)
		k := Keeper{Config: cfg.Load, Tracker: tracker, Push: func(_ *config.Config, p Plan) error { pushes <- p.Order; return nil }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		time.Sleep(time.Minute)
		cfg.Store(three("cost"))
		time.Sleep(time.Second)
		several(5, failed("a", "m", Server), tracker)
		assert.Empty(t, <-pushes)
		assert.Equal(t, map[string][]int{"m": {1, 2, 0}}, <-pushes)
		tracker.wake() // it ends while it gathers
		synctest.Wait()
		cancel()
		require.NoError(t, <-done)
	})
}

// A plan that could not be followed is pushed again, and says of which configuration it is.
func TestAKeeperPushesAgainWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, tracker := three("order"), NewTracker(Settings{})
		plans, fails := make(chan Plan, 100), atomic.Bool{}
		fails.Store(true)
		k := Keeper{Config: func() *config.Config { return cfg }, Tracker: tracker, Push: func(of *config.Config, p Plan) error {
			assert.Same(t, cfg, of)
			plans <- p
			if fails.Load() && len(p.Order) > 0 {
				return errors.New("not now")
			}
			return nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		synctest.Wait()
		require.Len(t, plans, 1)
		tracker.Observe(Outcome{Provider: "a", Model: "m", Result: Limited, Class: TooMany, RetryAfter: time.Minute})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		assert.GreaterOrEqual(t, len(plans), 4)
		fails.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		n := len(plans)
		for range n - 1 {
			<-plans
		}
		assert.Equal(t, map[string][]int{"m": {1, 2, 0}}, (<-plans).Order)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		assert.Empty(t, plans)
		cancel()
		require.NoError(t, <-done)
	})
}
