package usage

import (
	"strings"
	"time"
)

// ourEnd are the beginnings of the details of requests that Envoy, or Postern, ended
// itself. An attempt that went on then has no entry: it did not fail.
var ourEnd = []string{
	"response_timeout", "stream_idle_timeout", "request_overall_timeout", "max_duration_timeout", "duration_timeout",
	"no_healthy_upstream", "ext_proc", "postern_",
}

// endedByUs says that a request ended while its last attempt went on, or before it was
// begun.
func (r *Request) endedByUs() bool {
	if r.Aborted && r.Status < 300 {
		return true
	}
	for _, ours := range ourEnd {
		if strings.HasPrefix(r.Details, ours) {
			return true
		}
	}
	return false
}

// needs is how many attempts of a request have entries of their own for certain. Only
// those that failed do, and its own entry tells of the last whether that one did.
func (r *Request) needs() int {
	if r.Tried > 0 && (r.good() || r.endedByUs()) {
		return r.Tried - 1
	}
	return r.Tried
}

// most is how many may. Where Envoy ended a request between two attempts, the last that
// was begun has failed too.
func (r *Request) most() int {
	if r.good() {
		return r.needs()
	}
	return r.Tried
}

// good says that the last attempt did not fail, as far as the client saw.
func (r *Request) good() bool {
	return r.Status > 0 && r.Status < 300 && (r.Flags == "" || r.endedByUs())
}

// slack is between two readings of Envoy's clock, which is read once an event loop.
const slack = 10 * time.Millisecond

// covers says that the attempt began while the request went on.
func (r *Request) covers(a *Attempt) bool {
	return !a.Time.Before(r.Time.Add(-slack)) && !a.Time.After(r.Time.Add(r.Duration+slack))
}

// hasLast says that the last attempt of a request is among some of its attempts: that it
// went on when the request's last bytes went out, or if none did, when the client was
// answered.
func (r *Request) hasLast(own []Attempt) bool {
	if len(r.last) == 0 || r.needs() < r.Tried {
		return len(own) >= r.Tried
	}
	last := r.Time.Add(r.FirstByte)
	if r.sent {
		last = r.last[0].Time
	}
	for i := range own {
		a := &own[i]
		if a.Provider == r.Provider && !a.Time.After(last.Add(slack)) && !a.Time.Add(a.Duration).Before(last.Add(-slack)) {
			return true
		}
	}
	return false
}
