package health

import (
	"slices"
	"time"
)

// Memory is what Order must remember for entries with prefer: latency. The zero value
// remembers nothing. It is not changed once it was given.
type Memory map[string]memo

// memo is what is remembered of one entry.
type memo struct {
	groups []string // of which route this is: another one begins anew
	base   []int    // the order by latency, before breakers
	wanted []int    // a better one, and since when it is
	since  time.Time

	turn    int // the group that is explored; -1: none
	ends    time.Time
	samples uint64      // of that group, when its turn began
	turned  []time.Time // when each group's last turn ended
}

const (
	// An order by latency changes only for a group that is at least so much quicker
	// (its average is at most this share of the other's), for at least so long. Averages
	// always differ, and a change costs cold connections and caches.
	quicker = 0.8
	dwell   = 3 * time.Second

	// A model is measured once it has so many samples.
	enoughSamples = 5

	// A typical answer has so many output tokens.
	typical = 100

	// A group that comes late gets no traffic and so no measure. One that was never
	// measured, or not for so long, gets a turn as the first: until it has enough
	// samples, or for as long as it takes at the route's rate that turnRequests begin,
	// and then not again for as long, and only if there was traffic to measure
	// meanwhile. What it is asked is heard of when it ends, which may be after the turn.
	// Only groups get one whose breakers are closed and of which the last word, a
	// probe's too, was good; so it is a probe that brings a recovered one back.
	stale        = 2 * time.Minute
	turnRequests = 4 * enoughSamples
	turnShortest = time.Second
	turnLongest  = 30 * time.Second
)

// latency is the order by the time that a typical answer takes, and what to remember of
// it: the time to the first byte, and that for the tokens after it, where all groups that
// are measured have said their tokens. Groups that are not measured come after those that
// are, in the order as configured.
func latency(groups []group, before memo, now time.Time) ([]int, memo) {
	timed(groups)
	next := remembered(before, groups)
	next.settle(groups, now)
	next.explore(groups, now)
	order := slices.Clone(next.base)
	if next.turn >= 0 {
		toFront(order, slices.Index(order, next.turn))
	}
	return order, next
}

// timed works out what groups are compared by.
func timed(groups []group) {
	paced := !slices.ContainsFunc(groups, func(g group) bool { return g.firstByte > 0 && g.pace == 0 })
	for i := range groups {
		groups[i].takes = groups[i].firstByte
		if paced {
			groups[i].takes += typical * groups[i].pace
		}
	}
}

// remembered is a copy of the memo for these groups: a new one if it was of others.
func remembered(m memo, groups []group) memo {
	names := make([]string, len(groups))
	for i := range groups {
		names[i] = groups[i].name
	}
	if !slices.Equal(names, m.groups) {
		return memo{groups: names, base: identity(len(groups)), turn: -1, turned: make([]time.Time, len(groups))}
	}
	m.base, m.turned = slices.Clone(m.base), slices.Clone(m.turned)
	return m
}

// settle takes a better order once it has been better for long enough.
func (m *memo) settle(groups []group, now time.Time) {
	better := improved(m.base, groups)
	switch {
	case slices.Equal(better, m.base):
		m.wanted = nil
	case !slices.Equal(better, m.wanted):
		m.wanted, m.since = better, now
	case now.Sub(m.since) >= dwell:
		m.base, m.wanted = better, nil
	}
}

// improved is the order with, at each place, the quickest of those that are left, if
// it is clearly quicker than the one that has the place now.
func improved(base []int, groups []group) []int {
	order := slices.Clone(base)
	for place := range order {
		best := place
		for other := place + 1; other < len(order); other++ {
			if clearly(groups[order[other]], groups[order[place]]) && (best == place || groups[order[other]].takes < groups[order[best]].takes) {
				best = other
			}
		}
		toFront(order[place:], best-place)
	}
	return order
}

// clearly says that a is quicker than b, or measured where b is not.
func clearly(a, b group) bool {
	if a.takes == 0 || b.takes == 0 {
		return a.takes != 0
	}
	return float64(a.takes) <= quicker*float64(b.takes)
}

// explore ends a turn that is over, and begins the next one that is due.
func (m *memo) explore(groups []group, now time.Time) {
	if m.turn >= 0 {
		g := groups[m.turn]
		if g.promising && now.Before(m.ends) && g.samples < m.samples+enoughSamples {
			return
		}
		m.turned[m.turn], m.turn = now, -1
	}
	busy := slices.ContainsFunc(groups, func(g group) bool { return now.Sub(g.measured) < stale })
	rate := 0.0
	for i := range groups {
		rate += groups[i].rate
	}
	for place, i := range m.base {
		g := groups[i]
		known := g.firstByte > 0 && now.Sub(g.measured) < stale
		rested := m.turned[i].IsZero() || now.Sub(m.turned[i]) >= stale
		if known || !rested || !g.promising || !busy && place > 0 {
			continue
		}
		m.turn, m.ends, m.samples = i, now.Add(turnOf(rate)), g.samples
		return
	}
}

// turnOf is how long a turn is at so many requests a second.
func turnOf(rate float64) time.Duration {
	if rate <= turnRequests/turnLongest.Seconds() {
		return turnLongest
	}
	return max(turnShortest, time.Duration(turnRequests/rate*float64(time.Second)))
}

// toFront moves the place to the first one; the others keep their order.
func toFront(order []int, place int) {
	moved := order[place]
	copy(order[1:place+1], order[:place])
	order[0] = moved
}
