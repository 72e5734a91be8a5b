package health

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/postern-proxy/postern/config"
)

// counted is Envoy's count of the answers that provider a begins.
type counted struct {
	n    atomic.Uint64
	lost atomic.Bool
	read atomic.Int64
}

func (c *counted) answers(context.Context) (Answers, error) {
	c.read.Add(1)
	if c.lost.Load() {
		return nil, errors.New("nobody is there")
	}
	return Answers{"a": c.n.Load(), "b": 1 << 40}, nil
}

// confirmed runs a Keeper that asks before a breaker opens.
func confirmed(t *testing.T, cfg *config.Config) (*Tracker, *counted) {
	t.Helper()
	tracker, envoy := NewTracker(Settings{Jitter: func() float64 { return 0.5 }}), &counted{}
	k := Keeper{
		Config: func() *config.Config { return cfg }, Tracker: tracker, Answers: envoy.answers,
		Push: func(*config.Config, Plan) error { return nil },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-done) })
	synctest.Wait()
	return tracker, envoy
}

// streams has requests of a minute begin, a hundred a second, of which each hundredth
// fails at once, for a while. Failures are told at once, the others when they end.
func streams(tracker *Tracker, envoy *counted, long, during time.Duration, failEach int) {
	const perSecond = 100
	step := time.Second / perSecond
	for i := range int(during / step) {
		if failEach > 0 && i%failEach == 0 {
			o := failed("a", "m", Server)
			o.At = time.Now()
			tracker.Observe(o)
		} else {
			envoy.n.Add(1)
			o := good("a", "m")
			o.At, o.FirstByte, o.Duration = time.Now(), time.Millisecond, long
			time.AfterFunc(long, func() { tracker.Observe(o) })
		}
		time.Sleep(step)
	}
}

// While long answers go on only failures are heard of: a hundredth opens nothing.
func TestFailuresAmongLongStreamsOpenNothing(t *testing.T) {
	for _, long := range []time.Duration{time.Second, 20 * time.Second, 50 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			tracker, envoy := confirmed(t, three("order"))
			for range 150 {
				streams(tracker, envoy, long, time.Second, 100)
				assert.Equal(t, Closed, view(t, tracker, "a", "m").State)
			}
			assert.Less(t, envoy.read.Load(), int64(300))
			time.Sleep(time.Minute)
		})
	}
}

// One that fails loses its place within a second, whatever still ends well that began
// before.
func TestAFailureOfAllIsSeenAmongLongStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker, envoy := confirmed(t, three("order"))
		streams(tracker, envoy, 40*time.Second, 60*time.Second, 100)
		streams(tracker, envoy, 0, time.Second, 1)
		assert.Equal(t, Open, view(t, tracker, "a", "m").State)
		time.Sleep(5 * time.Second) // half-open
		streams(tracker, envoy, 40*time.Second, 100*time.Millisecond, 0)
		assert.Equal(t, HalfOpen, view(t, tracker, "a", "m").State)
		streams(tracker, envoy, 40*time.Second, 2*time.Second, 100)
		assert.Equal(t, HalfOpen, view(t, tracker, "a", "m").State, "one failure of a hundred does not open it again")
		time.Sleep(39 * time.Second)
		assert.Equal(t, Closed, view(t, tracker, "a", "m").State)
		time.Sleep(time.Minute)
	})
}

func TestWhatIsDownFromTheBeginOpensSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker, envoy := confirmed(t, three("order"))
		several(5, failed("a", "m", Server), tracker)
		assert.Equal(t, Closed, view(t, tracker, "a", "m").State)
		time.Sleep(400 * time.Millisecond)
		assert.Equal(t, Open, view(t, tracker, "a", "m").State)
		envoy.lost.Store(true)
		several(5, failed("b", "m", Server), tracker)
		time.Sleep(500 * time.Millisecond)
		assert.Equal(t, Closed, view(t, tracker, "b", "m").State)
		before := envoy.read.Load()
		time.Sleep(time.Second)
		assert.Less(t, envoy.read.Load()-before, int64(10))
		assert.Equal(t, Open, view(t, tracker, "b", "m").State, "nobody can say more")
	})
}

// The provider's other models answer, which Envoy does not tell apart. That excuses a
// broken one for as long as it may be that its own good answers are on their way.
func TestABrokenModelAmongGoodOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker, envoy := confirmed(t, configure("order", map[string]groups{"m": {{to("a")}, {to("b")}}, "n": {{to("a")}, {to("b")}}}))
		n := good("a", "n")
		n.Duration = 2 * time.Second
		for range 30 {
			tracker.Observe(failed("a", "m", Server))
			tracker.Observe(n)
			envoy.n.Add(100)
			time.Sleep(500 * time.Millisecond)
		}
		assert.Equal(t, Open, view(t, tracker, "a", "m").State)
		assert.Equal(t, Closed, view(t, tracker, "a", "n").State)
	})
}

// An answer that is still heard of, of the time before the failures, breaks no row.
func TestLateAnswersHideNoFailures(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	tracker.confirms()
	tracker.Configure(three("order"))
	for range 30 {
		late := good("a", "m")
		late.At = c.Now().Add(-time.Minute)
		tracker.Observe(late)
		tracker.Observe(failed("a", "m", Server))
		tracker.Observe(late)
	}
	some, wait := tracker.suspects()
	assert.True(t, some && wait == 0)
	c.pass(confirmingMost)
	tracker.confirm(nil)
	assert.Equal(t, Open, view(t, tracker, "a", "m").State)
}

// TestNoHostOfASuspect: what met nobody follows from the failures before, and does not
// hide what they were.
func TestNoHostOfASuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker, _ := confirmed(t, three("order"))
		several(5, failed("a", "m", Server), tracker)
		several(5, failed("a", "m", NoHost), tracker)
		assert.Equal(t, Server, view(t, tracker, "a", "m").Class)
		time.Sleep(confirmingMost + time.Second)
		synctest.Wait()
		v := view(t, tracker, "a", "m")
		assert.NotEqual(t, Closed, v.State)
		assert.Equal(t, Server, v.Class)
	})
}
