package extproc_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/extproc"
)

func version(n int) *extproc.Plan { return extproc.PlanOf("v"+strconv.Itoa(n), nil) }

func TestHistoryKeepsTheLastVersions(t *testing.T) {
	history := new(extproc.History)
	assert.Nil(t, history.Plan("v0"), "an empty history knows nothing")
	const all = 3 * extproc.Kept
	for n := range all {
		history.Add(version(n))
	}
	for n := range all {
		plan := history.Plan("v" + strconv.Itoa(n))
		if n < all-extproc.Kept {
			require.Nil(t, plan, "v%d", n)
			continue
		}
		require.NotNil(t, plan, "v%d", n)
		require.Equal(t, "v"+strconv.Itoa(n), plan.Version())
	}
}

// An Envoy that refuses what is new goes on with what it has.
func TestAVersionThatIsAskedForIsKept(t *testing.T) {
	history := new(extproc.History)
	for n := range 10 * extproc.Kept {
		history.Add(version(n))
		if n%(extproc.Kept/2) == 0 {
			require.NotNil(t, history.Plan("v0"), "after v%d", n)
		}
	}
	assert.Nil(t, history.Plan("v1"))
}

func TestTheSameVersionAgainPushesNothingOut(t *testing.T) {
	history := new(extproc.History)
	for n := range extproc.Kept {
		history.Add(version(n))
	}
	for range 3 * extproc.Kept { // an operator who goes back and forth
		history.Add(version(1))
		history.Add(version(2))
	}
	for n := range extproc.Kept {
		require.NotNil(t, history.Plan("v"+strconv.Itoa(n)), "v%d", n)
	}
}

func TestTheNewestPlanOfAVersionCounts(t *testing.T) {
	history := new(extproc.History)
	history.Add(extproc.PlanOf("v", nil))
	again := extproc.PlanOf("v", nil) // the same document, other keys in the environment
	history.Add(again)
	assert.Same(t, again, history.Plan("v"))
}

func TestHistoryIsReadWhileItGrows(t *testing.T) {
	history := new(extproc.History)
	history.Add(version(0))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					history.Plan("v0")
				}
			}
		})
	}
	for n := range 10 * extproc.Kept {
		history.Add(version(n))
		require.NotNil(t, history.Plan("v"+strconv.Itoa(n)))
	}
	close(done)
	readers.Wait()
}
