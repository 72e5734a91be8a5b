package envoy

import (
	"context"
	"errors"
	"regexp"
	"time"
)

const (
	// drainPoll is how often running requests are counted.
	drainPoll = 50 * time.Millisecond
	// drainCall bounds each question to an Envoy that is being stopped.
	drainCall = 2 * time.Second
	// drainQuiet is how many counts of zero in a row mean that all is done: a
	// request may have been accepted and not counted yet.
	drainQuiet = 2
)

// drain lets running requests end and then stops the child. SIGTERM alone would cut
// them: Envoy leaves within 10 ms. An Envoy that is not ready yet accepts none, and
// is stopped at once.
func (s *Supervisor) drain(ctx context.Context, c *running, ready bool) {
	s.tell(Event{State: Draining})
	if ready {
		s.finishRequests(ctx, c)
	}
	c.End(killGrace, s.kill)
}

// finishRequests waits for running requests, unless the child ends or Kill is called.
func (s *Supervisor) finishRequests(ctx context.Context, c *running) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.set.DrainTimeout)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-ctx.Done():
		case <-c.Done():
		case <-s.kill:
		}
	}()
	s.awaitQuiet(ctx)
}

// awaitQuiet closes the door and returns when no request runs any more, when ctx
// ends, or when Envoy does not answer.
func (s *Supervisor) awaitQuiet(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, drainCall)
	defer cancel()
	if err := s.set.Admin.Drain(call); err != nil {
		s.log.Warn("Envoy could not be drained before its stop", "error", err)
		return
	}
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for quiet := 0; quiet < drainQuiet; {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				s.log.Warn("requests were still running when the time to drain was over", "after", s.set.DrainTimeout)
			}
			return
		case <-ticker.C:
		}
		active, err := s.activeRequests(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			s.log.Warn("Envoy does not tell how many requests run", "error", err)
			return
		case err == nil && active == 0:
			if quiet++; quiet == drainQuiet {
				s.linger(ctx)
			}
		default:
			quiet = 0
		}
	}
}

// linger lets Envoy send what it has collected.
func (s *Supervisor) linger(ctx context.Context) {
	select {
	case <-time.After(s.set.Linger):
	case <-ctx.Done():
	}
}

// activeRequests counts the requests that run through the listeners of StatPrefix.
func (s *Supervisor) activeRequests(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, drainCall)
	defer cancel()
	name := "http." + s.set.StatPrefix + ".downstream_rq_active"
	stats, err := s.set.Admin.Stats(ctx, regexp.QuoteMeta(name))
	return stats[name], err
}
