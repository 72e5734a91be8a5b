package health

import (
	"sync"
	"time"
)

// State is a breaker's.
type State string

// The states.
const (
	Closed   State = "closed"    // it is used
	Open     State = "open"      // it failed, and comes last
	HalfOpen State = "half-open" // it is used again, and one failure opens it
)

// states are all of them, for metrics.
var states = []State{Closed, HalfOpen, Open}

// key names a cell: the configured name of a model at a provider, or no model for the
// provider itself. account is which of the provider's keys it is of, where it has several;
// empty: all of them.
type key struct{ provider, account, model string }

// cell is what is known of a provider, of one of its models, of one of its keys, or of a
// model with one of the keys.
type cell struct {
	key key

	mu    sync.Mutex
	state State
	since time.Time // of the state
	until time.Time // when an open breaker lets the next attempt try
	limit time.Time // 429: it wants to be left alone so long

	opens    int       // openings in a row, which make the next one longer
	closed   time.Time // when it closed last
	why      Class     // of the failure that opened it
	byProbe  bool      // a probe opened it
	unproved bool      // the last probe since it opened first failed too
	listed   bool      // a probe was given a list, ever
	served   time.Time // the last good answer to a client
	suspect  *suspect  // it opens if what Envoy counts does not speak against that; see confirm
	trusted  time.Time // until when it is not looked at again, because something did

	failing, working, refusals int       // in a row: failures, good attempts, failed probes
	row                        time.Time // when the failures began

	window    window
	class     Class // of the last failure or limit
	erred     time.Time
	worked    time.Time // the last good outcome
	heard     time.Time // the last attempt of a client
	firstByte average
	perToken  average
	pace      average // of the time for a token after the first byte
	whole     average // of the duration of good attempts
}

// pass lets an open breaker's time end. The moment is the one that was set, however
// late somebody looks.
func (c *cell) pass(now time.Time) {
	if c.state == Open && !now.Before(c.until) {
		c.become(HalfOpen, c.until)
	}
}

// recount begins the window anew, because it has another length now.
func (c *cell) recount() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.window = window{}
}

// become changes the state and begins to count anew.
func (c *cell) become(s State, at time.Time) {
	c.state, c.since = s, at
	c.failing, c.working, c.row, c.suspect = 0, 0, time.Time{}, nil
	if s == Closed {
		c.closed, c.window, c.refusals, c.unproved = at, window{}, 0, false
	}
}

// open begins a time in which the provider comes last: longer each time, unless it
// had worked for a while. That Envoy does not try it now is nothing new of the provider,
// and costs a request next to nothing: that is looked at again soon.
func (c *cell) open(class Class, probe bool, now time.Time, s *Settings) {
	if c.state == Closed && now.Sub(c.closed) >= s.Forget {
		c.opens = 0
	}
	length := s.Open / 2
	if class != NoHost || c.opens == 0 {
		length = s.Open
		for range c.opens {
			length = min(2*length, s.OpenMax)
		}
		c.opens++
	}
	c.why, c.byProbe, c.unproved = class, probe, probe || c.unproved
	c.become(Open, now)
	c.until = now.Add(s.spread(length))
}

// spread gives or takes a fifth, so that gates do not move in step.
func (s *Settings) spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*s.Jitter()))
}

// note takes an attempt. evidence says that a failure may open this breaker. The
// result is whether the order may change by it.
func (c *cell) note(o *Outcome, evidence bool, now time.Time, s *Settings) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.state
	c.pass(now)
	if !o.Probe && o.Result != Ignored {
		c.heard = now
	}
	switch o.Result {
	case Good:
		c.good(o, now, s)
	case Failed:
		changed = c.fail(o, evidence, now, s)
	case Limited:
		changed = c.limited(o, evidence, now, s)
	case Ignored:
	}
	c.measure(o, now, s)
	return changed || c.state != before
}

// stale says that an attempt began before the breaker became what it is: it tells of
// the time before. A state of the beginning has no time before.
func (c *cell) stale(o *Outcome, now time.Time) bool {
	return c.opens > 0 && o.moment(now).Before(c.since)
}

// good takes an answer to a client. What a long stream shows it showed with its first
// byte: it breaks no row of failures that began after that.
func (c *cell) good(o *Outcome, now time.Time, s *Settings) {
	c.worked, c.served = now, now
	slot, shown := c.window.at(now, s.Window), o.moment(now)
	slot.good++
	if s.confirm && now.Sub(shown) > s.Window {
		slot.late++
	}
	if c.stale(o, now) {
		return
	}
	c.refusals = 0
	if !s.confirm || !shown.Before(c.row) {
		c.failing, c.row, c.suspect = 0, time.Time{}, nil
	}
	c.working++
	if c.state == HalfOpen || c.state == Open && (c.why.refuted() || c.why == BadKey || c.working >= s.Consecutive) {
		c.become(Closed, now)
	}
}

// fail takes a failure. One that says how long to leave the provider alone is obeyed at
// once. A 403 may be about the request, which some providers refuse to work on: it is
// evidence only where nothing was answered well for long, so that no client's words take
// a provider from others who use it.
func (c *cell) fail(o *Outcome, evidence bool, now time.Time, s *Settings) (changed bool) { //nolint:cyclop // one rule a case
	follows := o.Class == NoHost && (!evidence || c.state == Open || c.suspect != nil)
	if !follows { // from what opened it or is about to, than which it says less
		c.class, c.erred = o.Class, now
	}
	slot := c.window.at(now, s.Window)
	slot.failed++
	if evidence && o.RetryAfter > 0 {
		changed = c.leave(o.RetryAfter, now, s)
	}
	if !evidence || c.stale(o, now) || o.Class == Forbidden && !c.served.IsZero() && now.Sub(c.served) < s.Forget {
		return changed
	}
	slot.held++
	if c.row.IsZero() {
		c.row = now
	}
	c.failing++
	c.working = 0
	if c.suspect != nil {
		c.suspect.failed++
		if !follows {
			c.suspect.class = o.Class
		}
	}
	if c.state != HalfOpen && (c.state != Closed || !c.tooMuch(now, s)) {
		return changed
	}
	switch {
	case !s.confirm:
		c.open(o.Class, false, now, s)
	case c.suspect == nil && !now.Before(c.trusted):
		c.suspect = &suspect{class: o.Class, since: now}
		return true
	}
	return changed
}

// leave has it left alone for a while. The result is whether it was not before.
func (c *cell) leave(wait time.Duration, now time.Time, s *Settings) (changed bool) {
	if until := now.Add(min(wait, s.LimitMax)); until.After(c.limit) {
		changed = !c.limit.After(now)
		c.limit = until
	}
	return changed
}

// tooMuch says that a closed breaker opens.
func (c *cell) tooMuch(now time.Time, s *Settings) bool {
	if c.failing >= s.Consecutive {
		return true
	}
	all := c.window.sum(now, s.Window)
	total := float64(all.good-all.late) + float64(all.held)
	return total >= float64(s.Enough) && float64(all.held) >= s.Ratio*total
}

// limited leaves the model alone for a while. It is no failure: who limits is there,
// so that a half-open breaker closes.
func (c *cell) limited(o *Outcome, evidence bool, now time.Time, s *Settings) (changed bool) {
	c.class, c.erred = TooMany, now
	c.window.at(now, s.Window).limited++
	if c.state == HalfOpen && !c.stale(o, now) {
		c.become(Closed, now)
	}
	if !evidence {
		return false
	}
	wait := s.Limit
	if o.RetryAfter > 0 {
		wait = o.RetryAfter
	}
	return c.leave(wait, now, s)
}

// measure adds to the averages what an attempt took.
func (c *cell) measure(o *Outcome, now time.Time, s *Settings) {
	if o.Probe || o.Class != "" || o.Result != Good && o.Result != Ignored {
		return
	}
	if o.FirstByte > 0 {
		c.firstByte.add(o.FirstByte.Seconds(), now, s.Memory)
	}
	if o.OutputTokens > 0 && o.Duration > 0 {
		c.perToken.add(o.Duration.Seconds()/float64(o.OutputTokens), now, s.Memory)
		if o.FirstByte > 0 && o.Duration >= o.FirstByte {
			c.pace.add((o.Duration-o.FirstByte).Seconds()/float64(o.OutputTokens), now, s.Memory)
		}
	}
	if o.Result == Good && o.Duration > 0 {
		c.whole.add(o.Duration.Seconds(), now, s.Memory)
	}
}

// probed takes the answer to a probe. A good one closes a breaker whose failures it
// refutes, and lets the next attempt try if a probe had failed before. A failed one
// counts against the provider itself alone, and keeps open what is open.
func (c *cell) probed(o *Outcome, now time.Time, s *Settings) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.state
	c.pass(now)
	switch o.Result {
	case Good:
		c.worked, c.refusals, c.listed = now, 0, c.listed || o.Accepted
		switch refuted := c.byProbe || c.why.refuted(); {
		case c.state != Closed && refuted:
			c.become(Closed, now)
		case c.state == Open && c.unproved:
			c.become(HalfOpen, now)
		}
		c.unproved = false
	case Failed:
		c.probeFailed(o, now, s)
	case Limited, Ignored:
	}
	return c.state != before
}

func (c *cell) probeFailed(o *Outcome, now time.Time, s *Settings) {
	if c.key.model == "" {
		c.class, c.erred = o.Class, now
		c.refusals++
	}
	switch {
	case c.state == Open:
		// The next probe comes before this has passed, even if it is slow to fail.
		c.unproved = true
		if later := now.Add(2*s.Open + s.spread(s.Open)); later.After(c.until) {
			c.until = later
		}
	case c.key.model == "" && (c.state == HalfOpen || c.refusals >= s.Probes):
		c.open(o.Class, true, now, s)
	}
}

// isListed says that a probe was given a list, ever.
func (c *cell) isListed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listed
}

// doubt notes a failed probe that changes nothing yet.
func (c *cell) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unproved = c.unproved || c.state == Open
}

// show notes a failure that changes nothing.
func (c *cell) show(o *Outcome, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.class, c.erred = o.Class, now
}
