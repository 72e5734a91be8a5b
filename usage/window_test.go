package usage

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/usage/price"
)

func TestTheSlidingMinute(t *testing.T) {
	c := newClock()
	w := NewWindow(WindowSettings{Now: c.Now})
	for i := range 60 { // one a second, every tenth fails over first
		r := &Request{
			Route: "r", Provider: "b", Blame: Nobody, FirstByte: time.Duration(i+1) * 10 * time.Millisecond,
			Tokens: Tokens{Input: exact(90), Output: exact(10)}, Cost: Cost{Amount: price.Dollar / 100, Known: i != 5},
			Attempts: []Attempt{{Provider: "b", Blame: Nobody, FirstByte: time.Second}},
		}
		if i == 5 {
			r.Cost = Cost{}
		}
		if i%10 == 0 {
			r.Attempts = append([]Attempt{{Provider: "a", Blame: Provider}}, r.Attempts...)
		}
		w.Consume(r)
		c.pass(time.Second)
	}
	s := w.Snapshot()
	assert.InDelta(t, 59, s.Span.Seconds(), 1.1)
	require.Len(t, s.Routes, 1)
	row := s.Routes[0]
	assert.InDelta(t, 1, row.Rate, 0.05)
	assert.InDelta(t, 100, row.TokenRate, 5)
	assert.InDelta(t, 36, row.CostPerHour, 2)
	assert.InDelta(t, 0.305, row.FirstByte50.Seconds(), 0.03)
	assert.InDelta(t, 0.575, row.FirstByte95.Seconds(), 0.06)
	assert.EqualValues(t, 1, row.Unpriced)
	require.Len(t, s.Providers, 2)
	assert.Equal(t, "b", s.Providers[0].Name)
	assert.Zero(t, s.Providers[0].Errors)
	assert.Equal(t, s.Providers[1].Requests, s.Providers[1].Provider)
	assert.InDelta(t, 100, s.Providers[0].TokenRate, 5)
	assert.Zero(t, s.Providers[1].TokenRate, "who did not answer used no tokens")

	c.pass(30 * time.Second)
	assert.InDelta(t, 30, w.Snapshot().Total.Requests, 2)
	c.pass(31 * time.Second)
	s = w.Snapshot()
	assert.Zero(t, s.Total.Requests)
	assert.Empty(t, s.Routes, "what was silent for a minute is not shown")
	w.Consume(&Request{Route: "r", Blame: Client})
	row = w.Snapshot().Routes[0]
	assert.EqualValues(t, 1, row.Requests, "what a slot held a minute ago is gone")
	assert.EqualValues(t, 1, row.Client)
}

func TestTheFirstSecond(t *testing.T) {
	w := NewWindow(WindowSettings{})
	w.Consume(&Request{Blame: Gateway})
	s := w.Snapshot()
	assert.Equal(t, time.Second, s.Span)
	assert.Equal(t, "none", s.Routes[0].Name)
	assert.EqualValues(t, 1, s.Total.Gateway)
}

func TestRowsAreBounded(t *testing.T) {
	c := newClock()
	w := NewWindow(WindowSettings{Now: c.Now})
	for i := range 1000 {
		w.Consume(&Request{Route: "r" + strconv.Itoa(i), Provider: "p" + strconv.Itoa(i)})
	}
	assert.LessOrEqual(t, len(w.routes.rows), mostRows+1)
	assert.LessOrEqual(t, len(w.providers.rows), mostRows+1)
	s := w.Snapshot()
	assert.Equal(t, OtherLabel, s.Routes[0].Name)
	assert.EqualValues(t, 1000-mostRows, s.Routes[0].Requests)
	assert.EqualValues(t, 1000, s.Total.Requests)
	c.pass(2 * time.Minute)
	w.Consume(&Request{Route: "new", Provider: "another"})
	assert.Equal(t, "new", w.Snapshot().Routes[0].Name, "who was silent for a minute gives way")
	w.Consume(&Request{Attempts: []Attempt{{Provider: "another"}}})
	assert.Equal(t, "another", w.Snapshot().Providers[0].Name, "among providers too, in the same moment")
}

func TestQuantilesAreRightWithinATwentieth(t *testing.T) {
	for _, d := range []time.Duration{2 * time.Millisecond, 37 * time.Millisecond, time.Second, 95 * time.Second} {
		var sum tally
		sum.happened(Nobody, boxOf(d))
		assert.InEpsilon(t, d.Seconds(), sum.quantile(0.5).Seconds(), 0.051)
	}
	var sum tally
	sum.happened(Nobody, boxOf(time.Hour))
	sum.happened(Nobody, boxOf(1))
	assert.Positive(t, sum.quantile(0.01))
	assert.Positive(t, sum.quantile(1))
}
