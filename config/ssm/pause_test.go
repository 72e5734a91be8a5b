package ssm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A fleet does not ask all at once, never later than it promised, and more and more
// seldom while it is throttled.
func TestPauses(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 1000 {
		pause := (&Source{}).pause()
		seen[pause] = true
		assert.LessOrEqual(t, pause, DefaultPoll)
		assert.GreaterOrEqual(t, pause, DefaultPoll*4/5-time.Millisecond)
	}
	assert.Greater(t, len(seen), 900)
	for rest, longest := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, longestRest, longestRest} {
		pause := (&Source{rest: rest}).pause()
		assert.LessOrEqual(t, pause, longest)
		assert.GreaterOrEqual(t, pause, longest*4/5-time.Millisecond)
	}
	assert.LessOrEqual(t, (&Source{Poll: 5 * time.Minute, rest: 3}).pause(), 5*time.Minute, "and never more often than that")
	assert.GreaterOrEqual(t, (&Source{Poll: 5 * time.Minute, rest: 3}).pause(), 4*time.Minute-time.Millisecond)
}
