package extproc_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/extproc"
)

func TestBudget(t *testing.T) {
	b := extproc.NewBudget(100)
	require.True(t, extproc.Take(b, 60))
	require.False(t, extproc.Take(b, 41), "one byte too many")
	assert.Equal(t, int64(60), b.Taken(), "what was refused is not held")
	require.True(t, extproc.Take(b, 40), "exactly full")
	require.False(t, extproc.Take(b, 1))
	extproc.Give(b, 100)
	assert.Zero(t, b.Taken())
	assert.False(t, extproc.Take(new(extproc.Budget), 1), "the zero value has room for nothing")
}

func TestASmallerBudgetKeepsWhatIsHeld(t *testing.T) {
	b := extproc.NewBudget(100)
	require.True(t, extproc.Take(b, 80))
	b.Resize(50)
	assert.Equal(t, int64(80), b.Taken())
	assert.False(t, extproc.Take(b, 1))
	extproc.Give(b, 80)
	assert.True(t, extproc.Take(b, 50))
	assert.False(t, extproc.Take(b, 1))
}

// Requests that take at the same time never hold more than there is, and all of it
// comes back.
func TestTheBudgetHoldsUnderARace(t *testing.T) {
	const limit, each, workers, rounds = 1000, 300, 8, 2000
	b := extproc.NewBudget(limit)
	var held, most, granted atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range rounds {
				if !extproc.Take(b, each) {
					continue
				}
				granted.Add(1)
				now := held.Add(each)
				for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
				}
				held.Add(-each)
				extproc.Give(b, each)
			}
		})
	}
	all.Wait()
	assert.LessOrEqual(t, most.Load(), int64(limit))
	assert.Positive(t, granted.Load())
	assert.Zero(t, b.Taken())
}
