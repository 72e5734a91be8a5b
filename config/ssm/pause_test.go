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
		it := pause(0, 0)
		seen[it] = true
		assert.LessOrEqual(t, it, DefaultPoll)
		assert.GreaterOrEqual(t, it, DefaultPoll*4/5-time.Millisecond)
	}
	assert.Greater(t, len(seen), 900)
	for rest, longest := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, longestRest, longestRest} {
		it := pause(DefaultPoll, rest)
		assert.LessOrEqual(t, it, longest)
		assert.GreaterOrEqual(t, it, longest*4/5-time.Millisecond)
	}
	assert.LessOrEqual(t, pause(5*time.Minute, 3), 5*time.Minute, "and never more often than that")
	assert.GreaterOrEqual(t, pause(5*time.Minute, 3), 4*time.Minute-time.Millisecond)
}
