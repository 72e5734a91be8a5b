package load

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// grace is what a phase may take beyond its duration before its connections are
// given up.
const grace = 30 * time.Second

// Load is a closed loop: so many connections, each with one request under way.
type Load struct {
	Connections int           // 0 is 1
	Warmup      time.Duration // not measured; at least one request a connection
	Duration    time.Duration // measured; requests under way at its end are finished
	Requests    int           // measured in place of Duration, over all connections; 0: by Duration
}

// Sample is what one run of a load saw.
type Sample struct {
	Elapsed time.Duration
	Total   []time.Duration // of each request, ascending
	First   []time.Duration // to the first byte of each body, ascending
}

// Run warms up, calls begin, measures, and calls end. The first error of a request
// or of these calls ends it.
func (l Load) Run(ctx context.Context, ask Ask, begin, end func() error) (Sample, error) {
	callers := make([]*caller, max(l.Connections, 1))
	for i := range callers {
		c, err := dial(ctx, ask)
		if err != nil {
			return Sample{}, err
		}
		defer c.conn.Close()
		callers[i] = c
	}
	var never atomic.Int64
	if err := phase(ctx, callers, l.Warmup, &never); err != nil {
		return Sample{}, fmt.Errorf("while warming up: %w", err)
	}
	for _, c := range callers {
		c.total, c.first = c.total[:0], c.first[:0]
	}
	if err := begin(); err != nil {
		return Sample{}, err
	}
	start := time.Now()
	if err := l.measure(ctx, callers); err != nil {
		return Sample{}, err
	}
	sample := Sample{Elapsed: time.Since(start)}
	if err := end(); err != nil {
		return Sample{}, err
	}
	for _, c := range callers {
		sample.Total = append(sample.Total, c.total...)
		sample.First = append(sample.First, c.first...)
	}
	slices.Sort(sample.Total)
	slices.Sort(sample.First)
	return sample, nil
}

func (l Load) measure(ctx context.Context, callers []*caller) error {
	var left atomic.Int64
	duration := l.Duration
	if l.Requests > 0 {
		left.Store(int64(l.Requests))
		duration = time.Hour
	}
	return phase(ctx, callers, duration, &left)
}

// phase lets all callers work until the time is over, or until nothing is left if
// that was positive at the start.
func phase(ctx context.Context, callers []*caller, duration time.Duration, left *atomic.Int64) error {
	counted := left.Load() > 0
	stop := time.Now().Add(duration)
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range callers {
		group.Go(func() error {
			if err := c.conn.SetDeadline(stop.Add(grace)); err != nil {
				return err
			}
			defer context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })()
			for {
				if counted && left.Add(-1) < 0 {
					return nil
				}
				if err := c.once(); err != nil {
					return because(ctx, err)
				}
				if !counted && time.Now().After(stop) {
					return nil
				}
			}
		})
	}
	return group.Wait()
}

// because gives the reason of a cancelled context in place of the broken request
// that follows from it.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
