//go:build !race

package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAllocationsOfAnOutcome(t *testing.T) {
	tracker := NewTracker(Settings{})
	tracker.Configure(configure("order", map[string]groups{"gpt-*": {{to("a")}, {to("b")}}}))
	for _, o := range []Outcome{
		{Provider: "a", Model: "gpt-5", Result: Good, FirstByte: time.Second, Duration: time.Second, OutputTokens: 9},
		failed("a", "gpt-5", Refused), probe("a", Good, ""), good("nobody", "m"),
	} {
		assert.Zero(t, testing.AllocsPerRun(100, func() { tracker.Observe(o) }))
	}
	assert.Zero(t, testing.AllocsPerRun(100, func() { Judge(503, "UF,URX", "upstream_reset", false) }))
}
