package usage

import (
	"context"
	"time"
)

// Counted is what Envoy counts itself, since its start.
type Counted struct {
	// Instance names the running Envoy, where it is ours: its counters begin at 0 with
	// it. Empty: a restart is seen by Born, or by counters that fell.
	Instance string
	// Born is when the running Envoy started, by its own uptime: late by up to the
	// interval at which Envoy reckons that (5s). Both sides read the same wall clock, so
	// one that is set changes it for that long only. Zero: nobody knows.
	Born     time.Time
	Written  uint64 // access_logs.grpc_access_log.logs_written
	Dropped  uint64 // access_logs.grpc_access_log.logs_dropped
	Requests uint64 // that ended: http.postern.downstream_rq_total less _rq_active
}

// Counters reads Envoy's own counters.
type Counters interface {
	Counters(ctx context.Context) (Counted, error)
}

// Gap is how much of the access log never came, of all Envoys and all of our lives
// since the ledger was begun.
type Gap struct {
	Written  uint64    // entries that Envoy wrote or dropped, as of the reading before the last
	Received uint64    // entries that came
	Missing  uint64    // entries that were written a reading ago and have not come
	Requests uint64    // requests that had ended a reading ago and whose entry has not come
	At       time.Time // of the last reading; zero: there was none
	Failure  string    // why the last reading failed
}

// GapMeter compares Envoy's counters with what came. The access log has no
// acknowledgement, so this is the only way to know what was lost.
//
// A reading counts what was written as of the reading before, because what Envoy has
// just written is still on its way. What an Envoy wrote between its last reading and
// its end is taken from what came meanwhile, so a loss in just that moment, at most
// one interval of a dying Envoy, may be seen too small; it is never seen too large.
type GapMeter struct {
	Counters Counters
	Ledger   *Ledger
	Every    time.Duration // between readings; default 5s, longer than the log's flush
	Now      func() time.Time

	at      time.Time // guarded, as the next, by Ledger.mu
	failure string
}

// Run reads until ctx ends.
func (g *GapMeter) Run(ctx context.Context) error {
	every := g.Every
	if every <= 0 {
		every = 5 * time.Second
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		g.Read(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Read takes one reading. An Envoy that does not answer changes nothing but Failure.
func (g *GapMeter) Read(ctx context.Context) {
	counted, err := g.Counters.Counters(ctx)
	g.Ledger.mu.Lock()
	defer g.Ledger.mu.Unlock()
	if err != nil {
		g.failure = clean(err.Error(), maxDetails)
		return
	}
	b, written := &g.Ledger.balance, counted.Written+counted.Dropped
	now := g.now()
	switch restarted := b.another(&counted, now, g.at); {
	case b.unread() && counted.Born.Before(time.Unix(b.Begun, 0).Add(-time.Second)):
		// It was there before the ledger, or may have been: what it had counted until now
		// says nothing of this ledger's time.
		b.Written.begin(written, g.Ledger.received())
		b.Total.begin(counted.Requests, g.Ledger.receivedRequests())
	default:
		b.Written.read(written, g.Ledger.received(), restarted)
		b.Total.read(counted.Requests, g.Ledger.receivedRequests(), restarted)
	}
	b.Instance, b.Born, b.Read = clean(counted.Instance, 64), unix(counted.Born), true
	b.Seen = now.Unix()
	g.at, g.failure = now, ""
	g.Ledger.write()
}

// bornTwice is how far apart two readings of one Envoy's Born can be.
const bornTwice = 10 * time.Second

// another says that these are the counters of another Envoy than those read last, which
// was then; zero: in another life of ours. One that began since is no older than that:
// a clock that was set makes Born another for a moment, but no uptime as short.
func (b *balance) another(c *Counted, now, then time.Time) bool {
	if then.IsZero() {
		then = time.Unix(b.Seen, 0)
	}
	instance := clean(c.Instance, 64)
	switch {
	case b.Instance != "" && instance != "":
		return instance != b.Instance
	case c.Written+c.Dropped < b.Written.Last:
		return true
	}
	return b.Born != 0 && !c.Born.IsZero() && c.Born.Sub(time.Unix(b.Born, 0)) > bornTwice &&
		now.Sub(c.Born) < now.Sub(then)+bornTwice
}

// unread says that Envoy was not read yet. Older ledgers do not tell.
func (b *balance) unread() bool { return !b.Read && b.Written == (meter{}) && b.Total == (meter{}) }

// unix is a time in seconds; 0 if there is none.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Gap is what is missing now.
func (g *GapMeter) Gap() Gap {
	g.Ledger.mu.Lock()
	defer g.Ledger.mu.Unlock()
	b, came := &g.Ledger.balance, g.Ledger.received()
	return Gap{
		Written:  b.Written.Before,
		Received: came,
		Missing:  less(b.Written.Before, came),
		Requests: less(b.Total.Before, g.Ledger.receivedRequests()),
		At:       g.at,
		Failure:  g.failure,
	}
}

func (g *GapMeter) now() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
}
