package xds

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
)

// rates are all small ones, and many of all sizes.
func rates() []config.Rate {
	var all []config.Rate
	r := random()
	for _, per := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		for n := 1; n <= 2000; n++ {
			all = append(all, config.Rate{N: n, Per: per})
		}
		for range 2000 {
			n := int(math.Pow(10, r.Float64()*9))
			all = append(all, config.Rate{N: max(1, n), Per: per})
		}
		all = append(all, config.Rate{N: 1_000_000_000, Per: per}, config.Rate{N: 999_999_999, Per: per})
	}
	return all
}

func TestABucketRefillsAsItsRateSays(t *testing.T) {
	for _, rate := range rates() {
		b := bucket(rate)
		require.NoError(t, b.ValidateAll(), rate)
		interval := b.GetFillInterval().AsDuration()
		require.GreaterOrEqual(t, interval, 50*time.Millisecond, "%s: Envoy refuses a shorter interval", rate)
		require.Equal(t, uint32(rate.N), b.GetMaxTokens(), "%s: the burst is the rate's own number", rate)
		require.Positive(t, b.GetTokensPerFill().GetValue(), rate)
		require.LessOrEqual(t, b.GetTokensPerFill().GetValue(), b.GetMaxTokens(), "%s: what a fill brings must fit", rate)
		got := float64(b.GetTokensPerFill().GetValue()) / interval.Seconds()
		want := float64(rate.N) / rate.Per.Seconds()
		require.InEpsilon(t, want, got, 0.01, "%s: the long run", rate)
	}
}

// A bucket that is emptied has a token again as soon as its rate allows.
func TestABucketRefillsEvenly(t *testing.T) {
	for text, want := range map[string]struct {
		tokens   uint32
		interval time.Duration
	}{
		"1/s":    {1, time.Second},
		"20/s":   {1, 50 * time.Millisecond},
		"30/s":   {2, 66666666 * time.Nanosecond},
		"1000/s": {50, 50 * time.Millisecond},
		"60/m":   {1, time.Second},
		"1/d":    {1, 24 * time.Hour},
		"1000/h": {1, 3600 * time.Millisecond},
	} {
		var rate config.Rate
		require.NoError(t, rate.UnmarshalText([]byte(text)))
		b := bucket(rate)
		assert.Equal(t, want.tokens, b.GetTokensPerFill().GetValue(), text)
		assert.InDelta(t, want.interval, b.GetFillInterval().AsDuration(), 1, text)
	}
}
