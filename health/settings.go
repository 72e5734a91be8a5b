package health

import (
	"math/rand/v2"
	"time"

	"github.com/postern-proxy/postern/config"
)

// Settings of a Tracker. The zero value has the defaults; what a configuration says
// (config.Health) stands over them.
type Settings struct {
	// A closed breaker opens at so many failures in a row; default 5.
	Consecutive int
	// Or at this share of failures, default 0.5, of at least Enough outcomes, default
	// 20, within Window, default 10s.
	Ratio  float64
	Enough int
	Window time.Duration
	// Probes are so many failed probes in a row that open a provider's; default 2.
	Probes int

	// An open breaker stays so for Open, default 5s, give or take a fifth; twice as
	// long each time it opens again, up to OpenMax, default 30s; and for Open again
	// after it has been closed for Forget, default 1m.
	Open    time.Duration
	OpenMax time.Duration
	Forget  time.Duration

	// A limited model is left alone for as long as its provider asks, up to LimitMax,
	// default 5m; for Limit, default 2s, if it does not say.
	Limit    time.Duration
	LimitMax time.Duration

	// Averages forget with this time constant: an observation weighs 1/e after
	// it. Default 1m.
	Memory time.Duration

	Now    func() time.Time // default time.Now
	Jitter func() float64   // from 0 to 1; default is random

	confirm bool // a breaker that would open waits for confirm
}

const defaultWindow = 10 * time.Second

func withDefaults(s Settings) Settings {
	atLeast(&s.Consecutive, 5)
	atLeast(&s.Enough, 20)
	atLeast(&s.Probes, 2)
	atLeast(&s.Ratio, 0.5)
	atLeast(&s.Window, defaultWindow)
	atLeast(&s.Open, 5*time.Second)
	atLeast(&s.OpenMax, 30*time.Second)
	atLeast(&s.Forget, time.Minute)
	atLeast(&s.Limit, 2*time.Second)
	atLeast(&s.LimitMax, 5*time.Minute)
	atLeast(&s.Memory, time.Minute)
	s.OpenMax = max(s.OpenMax, s.Open)
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Jitter == nil {
		s.Jitter = rand.Float64
	}
	return s
}

// with has what a configuration says in the place of what s says.
func with(s Settings, h config.Health) Settings {
	for _, d := range []struct {
		into  *time.Duration
		given config.Duration
	}{{&s.Window, h.Window}, {&s.Open, h.Open}, {&s.OpenMax, h.OpenMax}, {&s.LimitMax, h.LimitMax}} {
		if d.given > 0 {
			*d.into = time.Duration(d.given)
		}
	}
	if h.Failures > 0 {
		s.Consecutive = h.Failures
	}
	if h.Ratio > 0 {
		s.Ratio = float64(h.Ratio)
	}
	s.OpenMax = max(s.OpenMax, s.Open)
	return s
}

// atLeast puts the default in the place of what is not set.
func atLeast[T int | float64 | time.Duration](value *T, otherwise T) {
	if *value <= 0 {
		*value = otherwise
	}
}
