package health

import (
	"cmp"
	"strings"
	"time"
)

// A good attempt is heard of when its request ends, a failed one within half a second. So
// with long answers five failures in a row may be five of a thousand, nearly all of which
// still go on. Envoy counts answers when they begin. Where a Keeper can ask it
// (Keeper.Answers), a breaker that would open is first a suspect, for as long as it takes
// to see whether the provider answers others well meanwhile.

const (
	// confirming is how long that is looked at.
	confirming = 200 * time.Millisecond
	// confirmingMost is how long Envoy has to answer.
	confirmingMost = time.Second
	// trusting is how long one that was excused is not looked at again.
	trusting = time.Second

	// Envoy counts by provider and key, not by model. So what it counts excuses a model
	// only for so many times as long as good attempts take, of which one must have been
	// heard of by then: its own, or else its provider's, or else for the longest.
	patience        = 3
	shortestPatient = 2 * time.Second
	longestPatient  = 2 * time.Minute
)

// Answers are how many answers of status 2xx each provider and key has begun: by
// "PROVIDER" or "PROVIDER#KEY", as config has them.
type Answers map[string]uint64

// of is how many a cell's provider, or its key, has begun.
func (a Answers) of(at key) uint64 {
	if at.account != "" {
		return a[at.provider+"#"+at.account]
	}
	var sum uint64
	for name, n := range a {
		if provider, _, _ := strings.Cut(name, "#"); provider == at.provider {
			sum += n
		}
	}
	return sum
}

// suspect is a breaker that is about to open.
type suspect struct {
	class  Class
	since  time.Time
	looked time.Time // when Envoy was asked last; zero: not yet
	began  time.Time // when answers were first counted; zero: not yet
	before uint64    // answers until then
	failed int       // failures since
}

// suspects says whether breakers are about to open, and in how long the first is looked
// at: 0 is now.
func (t *Tracker) suspects() (some bool, wait time.Duration) {
	now := t.settings.Now()
	wait = confirming
	for _, c := range t.table.Load().cells {
		if one, its := c.isSuspect(now); one {
			some, wait = true, min(wait, its)
		}
	}
	return some, wait
}

func (c *cell) isSuspect(now time.Time) (is bool, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suspect == nil {
		return false, 0
	}
	if !c.suspect.looked.IsZero() {
		wait = max(0, confirming-now.Sub(c.suspect.looked))
	}
	return true, wait
}

// confirm opens the breakers that are suspects and that what Envoy counted does not
// excuse. nil is that nobody could say: then those open that have waited for long.
func (t *Tracker) confirm(answers Answers) {
	all, now := t.table.Load(), t.settings.Now()
	for _, p := range all.providers {
		usual := p.own.usual()
		for _, c := range p.all {
			c.confirm(answers, usual, now, &all.settings)
		}
	}
}

// usual is how long good attempts take; 0: not known.
func (c *cell) usual() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.whole.duration()
}

func (c *cell) confirm(answers Answers, usual time.Duration, now time.Time, s *Settings) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pass(now)
	suspect := c.suspect
	if suspect == nil {
		return
	}
	suspect.looked = now
	switch {
	case answers == nil:
		if now.Sub(suspect.since) >= confirmingMost {
			c.open(suspect.class, false, now, s)
		}
	case suspect.began.IsZero():
		suspect.began, suspect.before, suspect.failed = now, answers.of(c.key), 0
	case now.Sub(suspect.began) < confirming:
	case c.excused(answers.of(c.key), usual, now, s):
		c.suspect, c.failing, c.trusted = nil, 0, now.Add(trusting) // but the row goes on
	default:
		c.open(suspect.class, false, now, s)
	}
}

// excused says that the provider answers well too often for its breaker to open.
func (c *cell) excused(answers uint64, usual time.Duration, now time.Time, s *Settings) bool {
	well := float64(answers) - float64(c.suspect.before) // less than 0: another Envoy counts
	failed := float64(c.suspect.failed)
	return well > 0 && failed < s.Ratio*(failed+well) && now.Sub(c.row) < patient(cmp.Or(c.whole.duration(), usual))
}

// patient is how long failures may go on without a good attempt being heard of, where
// one usually takes so long.
func patient(usual time.Duration) time.Duration {
	if usual == 0 {
		return longestPatient
	}
	return min(max(patience*usual, shortestPatient), longestPatient)
}
