package health

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
)

func tracking(t *testing.T, cfg *config.Config) (*Tracker, *clock) {
	t.Helper()
	c := newClock()
	tracker := NewTracker(exact(c))
	tracker.Configure(cfg)
	return tracker, c
}

func TestABreakerOpensAtFailuresInARow(t *testing.T) {
	tracker, _ := tracking(t, three("order"))
	several(4, failed("a", "m", Server), tracker)
	tracker.Observe(good("a", "m"))
	several(4, failed("a", "m", Server), tracker)
	assert.Equal(t, Closed, view(t, tracker, "a", "m").State)
	tracker.Observe(failed("a", "m", Server))
	v := view(t, tracker, "a", "m")
	assert.Equal(t, Open, v.State)
	assert.Equal(t, Server, v.Class)
	assert.Equal(t, 5*time.Second, v.Until.Sub(v.Since))
	assert.Equal(t, Closed, view(t, tracker, "a", "").State, "one model's failure is not the provider's")
	assert.Equal(t, 9, view(t, tracker, "a", "").Failed, "but it is shown there")
	assert.Equal(t, Closed, view(t, tracker, "b", "m").State)
}

func TestABreakerOpensAtAShareOfFailures(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	for range 9 {
		tracker.Observe(good("a", "m"))
		tracker.Observe(failed("a", "m", Timeout))
	}
	tracker.Observe(good("a", "m"))
	assert.Equal(t, Closed, view(t, tracker, "a", "m").State, "19 are not enough")
	tracker.Observe(failed("a", "m", Timeout))
	assert.Equal(t, Open, view(t, tracker, "a", "m").State)

	tracker.Configure(configure("order", nil))
	tracker.Configure(three("order"))
	for range 40 { // the window forgets
		tracker.Observe(good("a", "m"))
		tracker.Observe(failed("a", "m", Timeout))
		c.pass(1100 * time.Millisecond)
	}
	assert.Equal(t, Closed, view(t, tracker, "a", "m").State)
	assert.LessOrEqual(t, view(t, tracker, "a", "m").Failed, 10)
}

func TestAnOpenBreakerTriesAgainAndWaitsLongerEachTime(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	several(5, failed("a", "m", Server), tracker)
	for _, seconds := range []int{5, 10, 20, 30, 30} {
		wait := time.Duration(seconds) * time.Second
		c.pass(wait - time.Millisecond)
		require.Equal(t, Open, view(t, tracker, "a", "m").State, "before %s", wait)
		c.pass(time.Millisecond)
		require.Equal(t, HalfOpen, view(t, tracker, "a", "m").State, "after %s", wait)
		tracker.Observe(failed("a", "m", Server))
		require.Equal(t, Open, view(t, tracker, "a", "m").State)
	}
	c.pass(30 * time.Second)
	tracker.Observe(good("a", "m"))
	require.Equal(t, Closed, view(t, tracker, "a", "m").State)

	several(5, failed("a", "m", Server), tracker)
	v := view(t, tracker, "a", "m")
	assert.Equal(t, 30*time.Second, v.Until.Sub(v.Since), "it had worked for a moment only")
	c.pass(30 * time.Second)
	tracker.Observe(good("a", "m"))
	c.pass(time.Minute)
	several(5, failed("a", "m", Server), tracker)
	v = view(t, tracker, "a", "m")
	assert.Equal(t, 5*time.Second, v.Until.Sub(v.Since), "it had worked for a while")
}

func TestTheOpenTimeVariesByAFifth(t *testing.T) {
	for jitter, want := range map[float64]time.Duration{0: 4 * time.Second, 1: 6 * time.Second} {
		c := newClock()
		s := exact(c)
		s.Jitter = func() float64 { return jitter }
		tracker := NewTracker(s)
		tracker.Configure(three("order"))
		several(5, failed("a", "m", Server), tracker)
		v := view(t, tracker, "a", "m")
		assert.Equal(t, want, v.Until.Sub(v.Since).Round(time.Millisecond))
	}
}

func TestAttemptsOfTheTimeBeforeChangeNothing(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	began := c.Now()
	several(5, failed("a", "m", Server), tracker)
	c.pass(5 * time.Second)
	late := failed("a", "m", Timeout)
	late.At = began
	tracker.Observe(late)
	require.Equal(t, HalfOpen, view(t, tracker, "a", "m").State)
	early := good("a", "m")
	early.At = began
	tracker.Observe(early)
	require.Equal(t, HalfOpen, view(t, tracker, "a", "m").State)
	tracker.Observe(good("a", "m"))
	require.Equal(t, Closed, view(t, tracker, "a", "m").State)
	several(50, late, tracker)
	v := view(t, tracker, "a", "m")
	assert.Equal(t, Closed, v.State)
	assert.Equal(t, 50, v.Failed, "they are shown")
}

func TestGoodAttemptsCloseABreakerEarly(t *testing.T) {
	tracker, _ := tracking(t, three("order"))
	several(5, failed("a", "m", Server), tracker)
	several(4, good("a", "m"), tracker)
	assert.Equal(t, Open, view(t, tracker, "a", "m").State)
	tracker.Observe(good("a", "m"))
	assert.Equal(t, Closed, view(t, tracker, "a", "m").State)

	several(5, failed("a", "m", Refused), tracker)
	require.Equal(t, Open, view(t, tracker, "a", "").State)
	tracker.Observe(good("a", "m"))
	assert.Equal(t, Closed, view(t, tracker, "a", "m").State, "who answers is there")
	assert.Equal(t, Closed, view(t, tracker, "a", "").State)
}

func TestAFailureOfTheProviderIsAllItsModels(t *testing.T) {
	tracker, _ := tracking(t, configure("order", map[string]groups{"m": {{to("a")}}, "n": {{to("a")}}}))
	several(3, failed("a", "m", Refused), tracker)
	several(2, failed("a", "n", Refused), tracker)
	assert.Equal(t, Open, view(t, tracker, "a", "").State)
	assert.Equal(t, Closed, view(t, tracker, "a", "m").State)
}

// Envoy leaves an address alone for one broken model; the provider's others may work.
func TestNoHostIsOneModels(t *testing.T) {
	tracker, _ := tracking(t, configure("order", map[string]groups{"m": {{to("a")}}, "n": {{to("a")}}}))
	several(5, failed("a", "m", NoHost), tracker)
	assert.Equal(t, Open, view(t, tracker, "a", "m").State)
	assert.Equal(t, Closed, view(t, tracker, "a", "").State)
	tracker.Observe(probe("a", Good, ""))
	assert.Equal(t, Open, view(t, tracker, "a", "m").State, "a probe does not go by Envoy's way")
	assert.Equal(t, NoHost, view(t, tracker, "a", "m").Class)
	assert.Empty(t, view(t, tracker, "a", "").Class)
}

// What Envoy does about failures hides them not, and makes nothing last longer.
func TestNoHostAfterFailures(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	several(5, failed("a", "m", Server), tracker)
	several(5, failed("a", "m", NoHost), tracker)
	assert.Equal(t, Server, view(t, tracker, "a", "m").Class)
	for range 10 {
		c.pass(5 * time.Second)
		require.Equal(t, HalfOpen, view(t, tracker, "a", "m").State)
		tracker.Observe(failed("a", "m", NoHost))
		v := view(t, tracker, "a", "m")
		require.Equal(t, Open, v.State)
		require.Equal(t, c.Now().Add(2500*time.Millisecond), v.Until)
	}
	c.pass(5 * time.Second)
	tracker.Observe(failed("a", "m", Server))
	assert.Equal(t, c.Now().Add(10*time.Second), view(t, tracker, "a", "m").Until, "the second time that it failed itself")
}

func TestALimitIsNoFailure(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	many := Outcome{Provider: "a", Model: "m", Result: Limited, Class: TooMany}
	for after, want := range map[time.Duration]time.Duration{
		0:                2 * time.Second,
		7 * time.Second:  7 * time.Second,
		-time.Second:     2 * time.Second,
		90 * time.Minute: 5 * time.Minute,
	} {
		c.pass(time.Hour)
		many.RetryAfter = after
		several(30, many, tracker)
		v := view(t, tracker, "a", "m")
		assert.Equal(t, Closed, v.State)
		assert.Equal(t, want, v.LimitedUntil.Sub(c.Now()), "%s", after)
		assert.Equal(t, 30, v.Limited)
		assert.Equal(t, TooMany, v.Class)
		assert.Zero(t, view(t, tracker, "a", "").LimitedUntil, "limits are a model's")
		tracker.Observe(good("a", "m"))
		assert.NotZero(t, view(t, tracker, "a", "m").LimitedUntil, "an answer that was under way does not end it")
		c.pass(want)
		assert.Zero(t, view(t, tracker, "a", "m").LimitedUntil)
	}
	many.Model = ""
	tracker.Observe(many)
	assert.NotZero(t, view(t, tracker, "a", "").LimitedUntil)
}

func TestALimitedAttemptClosesAHalfOpenBreaker(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	several(5, failed("a", "m", Server), tracker)
	c.pass(5 * time.Second)
	many := Outcome{Provider: "a", Model: "m", Result: Limited, Class: TooMany, At: c.Now().Add(-time.Minute)}
	tracker.Observe(many)
	require.Equal(t, HalfOpen, view(t, tracker, "a", "m").State, "it is of the time before")
	many.At = c.Now()
	tracker.Observe(many)
	v := view(t, tracker, "a", "m")
	assert.Equal(t, Closed, v.State)
	assert.True(t, v.Limit(c.Now()))
}

func TestClientsAreNoEvidence(t *testing.T) {
	tracker, _ := tracking(t, three("order"))
	for _, class := range []Class{Left, Mistake, Ours} {
		several(100, Outcome{
			Provider: "a", Model: "m", Class: class,
			FirstByte: time.Second, Duration: time.Second, OutputTokens: 5,
		}, tracker)
	}
	v := view(t, tracker, "a", "m")
	assert.Equal(t, Closed, v.State)
	assert.Zero(t, v.Failed+v.Good+v.Limited)
	assert.Zero(t, v.FirstByte)
	assert.Zero(t, v.PerToken)
	assert.Zero(t, v.HeardAt)
	assert.Empty(t, v.Class)
}

func TestModelsThatAreNotConfiguredShareAState(t *testing.T) {
	tracker, _ := tracking(t, configure("order", map[string]groups{
		"exact": {{to("a")}},
		"gpt-*": {{to("a")}, {to("b", "vendor/*:free")}},
		"gpt-4": {{to("a", "own-name")}, {to("c", "x"), to("c", "y")}},
	}))
	require.Len(t, tracker.Views(), 9)
	for _, test := range []struct {
		o     Outcome
		model string // whose state it is
	}{
		{good("a", "exact"), "exact"},
		{good("a", "gpt-5-mini"), "gpt-*"},
		{good("a", "own-name"), "own-name"},
		{good("a", "never-heard-of"), ""},
		{good("a", ""), ""},
		{good("b", "vendor/llama:free"), "vendor/*:free"},
		{good("b", "vendor/*:free"), "vendor/*:free"},
		{good("b", "vendor/llama"), ""},
		{Outcome{Provider: "a", Entry: "gpt-4", Result: Good}, "own-name"},
		{Outcome{Provider: "a", Entry: "gpt-*", Result: Good}, "gpt-*"},
		{Outcome{Provider: "c", Entry: "gpt-4", Result: Good}, ""},
		{Outcome{Provider: "a", Entry: "nothing", Result: Good}, ""},
	} {
		before := view(t, tracker, test.o.Provider, test.model).Good
		all := view(t, tracker, test.o.Provider, "").Good
		tracker.Observe(test.o)
		assert.Equal(t, before+1, view(t, tracker, test.o.Provider, test.model).Good, "%+v", test.o)
		assert.Equal(t, all+1, view(t, tracker, test.o.Provider, "").Good, "%+v", test.o)
	}
	for i := range 1000 {
		tracker.Observe(good("a", fmt.Sprintf("made-up-%d", i)))
		tracker.Observe(good(fmt.Sprintf("nobody-%d", i), "m"))
	}
	assert.Len(t, tracker.Views(), 9, "clients do not make it grow")
}

func TestAverages(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	quick := good("a", "m")
	quick.FirstByte, quick.Duration, quick.OutputTokens = 100*time.Millisecond, time.Second, 10
	several(10, quick, tracker)
	v := view(t, tracker, "a", "m")
	assert.Equal(t, 100*time.Millisecond, v.FirstByte.Round(time.Microsecond))
	assert.Equal(t, 100*time.Millisecond, v.PerToken.Round(time.Microsecond))
	assert.EqualValues(t, 10, v.Samples)

	c.pass(time.Minute) // 10/e of the old and 10 of the new
	slow := quick
	slow.FirstByte = 300 * time.Millisecond
	several(10, slow, tracker)
	assert.InDelta(t, 0.246, view(t, tracker, "a", "m").FirstByte.Seconds(), 0.001)

	c.pass(time.Hour)
	assert.InDelta(t, 0.246, view(t, tracker, "a", "m").FirstByte.Seconds(), 0.001, "silence changes nothing")
	several(1, quick, tracker)
	assert.InDelta(t, 0.1, view(t, tracker, "a", "m").FirstByte.Seconds(), 0.001, "but it forgets")

	lame := probe("a", Good, "")
	lame.FirstByte = time.Hour
	tracker.Observe(lame)
	bad := failed("a", "m", Timeout)
	bad.FirstByte = time.Hour
	tracker.Observe(bad)
	assert.InDelta(t, 0.1, view(t, tracker, "a", "m").FirstByte.Seconds(), 0.001, "probes and failures are no measure")

	tracker.Observe(Outcome{Provider: "b", Model: "m", Duration: time.Second, OutputTokens: 4})
	v = view(t, tracker, "b", "m")
	assert.Equal(t, 250*time.Millisecond, v.PerToken, "tokens may come later than the result")
	assert.Zero(t, v.Good)
}

func TestProbes(t *testing.T) {
	type step struct {
		o    []Outcome
		pass time.Duration
		own  State
		m    State
	}
	five := func(class Class) []Outcome {
		f := failed("a", "m", class)
		return []Outcome{f, f, f, f, f}
	}
	one := func(o Outcome) []Outcome { return []Outcome{o} }
	for name, steps := range map[string][]step{
		"two that fail open an idle provider, one that works closes it": {
			{o: one(probe("a", Failed, Refused)), own: Closed, m: Closed},
			{o: one(probe("a", Failed, Refused)), own: Open, m: Closed},
			{o: one(probe("a", Good, "")), own: Closed, m: Closed},
		},
		"whatever they fail with": {
			{o: one(probe("a", Good, "")), own: Closed, m: Closed},
			{o: []Outcome{probe("a", Failed, Server), probe("a", Failed, Server)}, own: Open, m: Closed},
			{o: one(probe("a", Good, "")), own: Closed, m: Closed},
		},
		"a good one between them": {
			{o: []Outcome{probe("a", Failed, Server), probe("a", Good, ""), probe("a", Failed, Server)}, own: Closed, m: Closed},
		},
		"what was refused is there again": {
			{o: five(Refused), own: Open, m: Open},
			{o: one(probe("a", Good, "")), own: Closed, m: Closed},
		},
		"a list of models proves no model": {
			{o: five(Server), own: Closed, m: Open},
			{o: one(probe("a", Good, "")), own: Closed, m: Open},
			{pass: 5 * time.Second, o: one(probe("a", Good, "")), own: Closed, m: HalfOpen},
			{o: one(good("a", "m")), own: Closed, m: Closed},
		},
		"but if that failed too, it may be tried": {
			{o: one(probe("a", Good, "")), own: Closed, m: Closed},
			{o: five(Server), own: Closed, m: Open},
			{o: one(probe("a", Failed, Server)), own: Closed, m: Open},
			{o: one(probe("a", Good, "")), own: Closed, m: HalfOpen},
		},
		"one that fails keeps open what is open": {
			{o: five(Refused), own: Open, m: Open},
			{pass: 4 * time.Second, o: one(probe("a", Failed, Refused)), own: Open, m: Open},
			{pass: 4 * time.Second, o: one(probe("a", Failed, Refused)), own: Open, m: Open},
			{pass: 14 * time.Second, own: Open, m: Open},
			{pass: time.Second, own: HalfOpen, m: HalfOpen},
			{o: one(probe("a", Failed, Refused)), own: Open, m: HalfOpen},
		},
		"a list that was never good opens nothing": {
			{o: []Outcome{probe("a", Failed, Server), probe("a", Failed, Timeout), probe("a", Failed, Malformed)}, own: Closed, m: Closed},
		},
		"and keeps nothing open": {
			{o: five(Server), own: Closed, m: Open},
			{pass: 4 * time.Second, o: one(probe("a", Failed, Server)), own: Closed, m: Open},
			{pass: time.Second, own: Closed, m: HalfOpen},
		},
		"but if it gets good then, something was mended": {
			{o: five(Server), own: Closed, m: Open},
			{o: one(probe("a", Failed, Server)), own: Closed, m: Open},
			{o: one(probe("a", Good, "")), own: Closed, m: HalfOpen},
		},
		"what failed when it was tried is still known to have failed a probe": {
			{o: five(Server), own: Closed, m: Open},
			{pass: 4 * time.Second, o: one(probe("a", Failed, Server)), own: Closed, m: Open},
			{pass: time.Second, o: one(failed("a", "m", Server)), own: Closed, m: Open},
			{o: one(probe("a", Good, "")), own: Closed, m: HalfOpen},
		},
		"a probe that was good does not count twice": {
			{o: one(probe("a", Good, "")), own: Closed, m: Closed},
			{o: five(Server), own: Closed, m: Open},
			{o: []Outcome{probe("a", Failed, Server), probe("a", Good, "")}, own: Closed, m: HalfOpen},
			{o: one(failed("a", "m", Server)), own: Closed, m: Open},
			{o: one(probe("a", Good, "")), own: Closed, m: Open},
		},
		"ignored ones": {
			{o: []Outcome{probe("a", Ignored, Other), probe("a", Limited, TooMany)}, own: Closed, m: Closed},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tracker, c := tracking(t, three("order"))
			for i, s := range steps {
				c.pass(s.pass)
				for _, o := range s.o {
					tracker.Observe(o)
				}
				require.Equal(t, s.own, view(t, tracker, "a", "").State, "provider, step %d", i)
				require.Equal(t, s.m, view(t, tracker, "a", "m").State, "model, step %d", i)
			}
			assert.Zero(t, view(t, tracker, "b", "").Failed)
		})
	}
}

func TestAConfigurationKeepsWhatIsKnown(t *testing.T) {
	tracker, _ := tracking(t, three("order"))
	several(5, failed("a", "m", Refused), tracker)
	several(5, failed("b", "m", Refused), tracker)
	next := three("latency")
	next.Providers["b"].Key = config.NewSecret("${B}", "sk-another")
	delete(next.Providers, "c")
	next.Models["m"].Route = next.Models["m"].Route[:2]
	tracker.Configure(next)
	assert.Equal(t, Open, view(t, tracker, "a", "m").State)
	assert.Equal(t, Open, view(t, tracker, "a", "").State)
	assert.Equal(t, Closed, view(t, tracker, "b", "m").State, "another credential is another provider")
	assert.Equal(t, Closed, view(t, tracker, "b", "").State)
	assert.Len(t, tracker.Views(), 4)
}

func TestAConfigurationSaysOtherSettings(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	next := three("order")
	next.Health = config.Health{
		Failures: 2, Ratio: 0.9, Window: config.Duration(time.Minute), Open: config.Duration(time.Minute),
		OpenMax: config.Duration(2 * time.Minute), LimitMax: config.Duration(time.Hour),
	}
	several(4, failed("a", "m", Server), tracker)
	require.Equal(t, Closed, view(t, tracker, "a", "m").State)
	tracker.Configure(next)
	assert.Zero(t, view(t, tracker, "a", "m").Failed, "another window begins anew")
	tracker.Observe(failed("a", "m", Server))
	v := view(t, tracker, "a", "m")
	assert.Equal(t, Open, v.State)
	assert.Equal(t, c.Now().Add(time.Minute), v.Until)
	tracker.Observe(Outcome{Provider: "b", Model: "m", Result: Limited, Class: TooMany, RetryAfter: 2 * time.Hour})
	assert.Equal(t, c.Now().Add(time.Hour), view(t, tracker, "b", "m").LimitedUntil)

	tracker.Configure(three("order"))
	several(4, failed("c", "m", Server), tracker)
	assert.Equal(t, Closed, view(t, tracker, "c", "m").State, "as before")
	assert.Equal(t, Open, view(t, tracker, "a", "m").State, "what is, stays")
}

func TestChangedIsWhatOrdersDependOn(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	<-tracker.Changed()
	woken := func() bool {
		select {
		case <-tracker.Changed():
			return true
		default:
			return false
		}
	}
	several(4, failed("a", "m", Server), tracker)
	assert.False(t, woken())
	tracker.Observe(failed("a", "m", Server))
	assert.True(t, woken(), "opened")
	c.pass(5 * time.Second)
	tracker.Observe(good("a", "m"))
	assert.True(t, woken(), "closed")
	several(9, good("a", "m"), tracker)
	assert.False(t, woken())
	tracker.Observe(Outcome{Provider: "a", Model: "m", Result: Limited, Class: TooMany})
	assert.True(t, woken(), "limited")
	tracker.Observe(Outcome{Provider: "a", Model: "m", Result: Limited, Class: TooMany})
	assert.False(t, woken())
}

func TestObserveWhileEverythingChanges(t *testing.T) {
	tracker := NewTracker(Settings{})
	var workers sync.WaitGroup
	for i := range 4 {
		workers.Go(func() {
			for n := range 500 {
				tracker.Observe(Outcome{Provider: "a", Model: "m", Result: Result(n % 4), Class: Server, FirstByte: time.Second, At: time.Now()})
				tracker.Observe(probe("b", Result(n%4), Refused))
				if n%50 == i {
					tracker.Configure(three("latency"))
				}
				if n%20 == i {
					tracker.Views()
					tracker.glance("a")
				}
			}
		})
	}
	workers.Wait()
	assert.Len(t, tracker.Views(), 6)
}

func BenchmarkObserve(b *testing.B) {
	tracker := NewTracker(Settings{})
	tracker.Configure(three("order"))
	o := Outcome{Provider: "a", Model: "m", Result: Good, FirstByte: time.Second, Duration: time.Second, OutputTokens: 9}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			tracker.Observe(o)
		}
	})
}
