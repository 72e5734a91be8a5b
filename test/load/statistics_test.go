package load

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestSpread(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   Spread
	}{
		"none":     {nil, Spread{}},
		"one":      {[]float64{3}, Spread{3, 3, 3}},
		"odd":      {[]float64{9, 1, 5}, Spread{5, 1, 9}},
		"even":     {[]float64{4, 1, 3, 2}, Spread{2.5, 1, 4}},
		"one wild": {[]float64{10, 10, 1000}, Spread{10, 10, 1000}},
	} {
		assert.Equal(t, c.want, SpreadOf(c.values), name)
	}
	values := []float64{3, 1, 2}
	SpreadOf(values)
	assert.Equal(t, []float64{3, 1, 2}, values, "the caller's order is the caller's")
}

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		sorted []time.Duration
		q      float64
		want   time.Duration
	}{
		{nil, 0.5, 0},
		{hundred[:1], 0.99, 1},
		{hundred, 0, 1},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
		{hundred[:10], 0.99, 10},
		{hundred[:3], 0.5, 2},
	} {
		assert.Equal(t, c.want, Quantile(c.sorted, c.q), "%d values, %v", len(c.sorted), c.q)
	}
}
