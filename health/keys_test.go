package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
)

// twoKeys is a model at a, which has two keys, and at b.
func twoKeys() *config.Config {
	cfg := configure("order", map[string]groups{"m": {{to("a")}, {to("b")}}, "n": {{to("a")}, {to("b")}}})
	cfg.Providers["a"].Keys = []config.Key{
		{Key: config.NewSecret("${ONE}", "sk-1")}, {Key: config.NewSecret("${TWO}", "sk-2")},
	}
	return cfg
}

func with1(o Outcome) Outcome { o.Key = "0"; return o }
func with2(o Outcome) Outcome { o.Key = "1"; return o }

// viewOf is of the provider a.
func viewOf(t *testing.T, tracker *Tracker, account, model string) View {
	t.Helper()
	for _, v := range tracker.Views() {
		if v.Provider == "a" && v.Key == account && v.Model == model {
			return v
		}
	}
	t.Fatalf("there is no view of a#%s %s", account, model)
	return View{}
}

func TestABadKeyIsOneKeys(t *testing.T) {
	tracker, c := tracking(t, twoKeys())
	several(9, with1(failed("a", "m", BadKey)), tracker)
	assert.Equal(t, Open, viewOf(t, tracker, "0", "").State)
	assert.Equal(t, Closed, viewOf(t, tracker, "1", "").State)
	assert.Equal(t, Closed, viewOf(t, tracker, "", "").State, "the other key is good")
	assert.Equal(t, Closed, viewOf(t, tracker, "", "m").State)
	assert.Equal(t, BadKey, viewOf(t, tracker, "", "m").Class)

	// A probe with the good key says nothing of the other.
	tracker.Observe(with2(probe("a", Good, "")))
	assert.Equal(t, Open, viewOf(t, tracker, "0", "").State)
	tracker.Observe(with1(probe("a", Good, "")))
	assert.Equal(t, Open, viewOf(t, tracker, "0", "").State, "the list may be anybody's")

	several(5, with2(failed("a", "n", BadKey)), tracker)
	assert.Equal(t, Open, viewOf(t, tracker, "", "").State, "all of its keys are")
	assert.Equal(t, c.Now().Add(5*time.Second), viewOf(t, tracker, "", "").Until)
	assert.Equal(t, Open, viewOf(t, tracker, "", "m").State)
	assert.Equal(t, []int{1, 0}, ordered(twoKeys(), "m", tracker.Views(), nil))

	tracker.Observe(with1(probe("a", Failed, BadKey)))
	tracker.Observe(with1(probe("a", Good, "")))
	assert.Equal(t, HalfOpen, viewOf(t, tracker, "0", "").State, "it was refused, and is not any more")
	assert.Equal(t, Closed, viewOf(t, tracker, "", "").State)
	tracker.Observe(with1(good("a", "m")))
	assert.Equal(t, Closed, viewOf(t, tracker, "0", "").State)
}

func TestALimitIsOneKeysAtOneModel(t *testing.T) {
	tracker, c := tracking(t, twoKeys())
	many := Outcome{Provider: "a", Entry: "m", Result: Limited, Class: TooMany, RetryAfter: time.Minute}
	tracker.Observe(with1(many))
	assert.True(t, new(viewOf(t, tracker, "0", "m")).Limit(c.Now()))
	for _, at := range [][2]string{{"1", "m"}, {"0", "n"}, {"", "m"}, {"", ""}, {"0", ""}} {
		assert.Zero(t, viewOf(t, tracker, at[0], at[1]).LimitedUntil, "%v", at)
	}
	c.pass(time.Second)
	tracker.Observe(with2(many))
	assert.Equal(t, c.Now().Add(59*time.Second), viewOf(t, tracker, "", "m").LimitedUntil, "the first key's ends first")
	assert.Zero(t, viewOf(t, tracker, "", "n").LimitedUntil)

	// One refused and one limited: nothing is left but to wait for the limit.
	tracker, c = tracking(t, twoKeys())
	several(5, with1(failed("a", "m", BadKey)), tracker)
	tracker.Observe(with2(many))
	v := viewOf(t, tracker, "", "m")
	assert.Equal(t, Closed, v.State)
	assert.Equal(t, c.Now().Add(time.Minute), v.LimitedUntil)
}

func TestAllElseIsTheModels(t *testing.T) {
	tracker, _ := tracking(t, twoKeys())
	several(3, with1(failed("a", "m", Server)), tracker)
	several(2, with2(failed("a", "m", Server)), tracker)
	assert.Equal(t, Open, viewOf(t, tracker, "", "m").State)
	assert.Equal(t, Closed, viewOf(t, tracker, "", "").State)
	assert.Zero(t, viewOf(t, tracker, "0", "m").Failed)
	several(3, with1(failed("a", "m", Refused)), tracker)
	several(2, with2(failed("a", "n", Refused)), tracker)
	assert.Equal(t, Open, viewOf(t, tracker, "", "").State)
	assert.Equal(t, Closed, viewOf(t, tracker, "0", "").State)
	require.Len(t, tracker.Views(), 3+6+4)
}

// Envoy leaves a provider alone for each of its keys apart.
func TestNoHostIsOneKeys(t *testing.T) {
	tracker, _ := tracking(t, twoKeys())
	several(9, with1(failed("a", "m", NoHost)), tracker)
	assert.Equal(t, Open, viewOf(t, tracker, "0", "m").State)
	assert.Equal(t, Closed, viewOf(t, tracker, "", "m").State)
	several(5, with2(failed("a", "m", NoHost)), tracker)
	assert.Equal(t, Open, viewOf(t, tracker, "", "m").State)
	assert.Equal(t, Closed, viewOf(t, tracker, "", "n").State)
}

func TestOneOfSeveralKeysIsNoSeveral(t *testing.T) {
	cfg := twoKeys()
	cfg.Providers["a"].Keys = cfg.Providers["a"].Keys[1:]
	tracker, _ := tracking(t, cfg)
	several(5, with1(failed("a", "m", BadKey)), tracker)
	assert.Equal(t, Open, viewOf(t, tracker, "", "").State)
	require.Len(t, tracker.Views(), 3+4)
}

// A 401 to the question for models is believed where that question was answered before.
func TestARefusedListIsNoRefusedKey(t *testing.T) {
	tracker, _ := tracking(t, three("order"))
	several(9, probe("a", Failed, BadKey), tracker)
	assert.Equal(t, Closed, view(t, tracker, "a", "").State)
	assert.Equal(t, BadKey, view(t, tracker, "a", "").Class, "but it is shown")
	tracker.Observe(probe("a", Good, ""))
	several(2, probe("a", Failed, BadKey), tracker)
	assert.Equal(t, Open, view(t, tracker, "a", "").State)

	tracker, _ = tracking(t, twoKeys())
	tracker.Observe(with1(probe("a", Good, "")))
	several(9, with2(probe("a", Failed, BadKey)), tracker)
	assert.Equal(t, Closed, viewOf(t, tracker, "1", "").State, "of this key")
	several(2, with1(probe("a", Failed, BadKey)), tracker)
	assert.Equal(t, Open, viewOf(t, tracker, "0", "").State)
}

// Some providers refuse what a client wrote with a 403.
func TestA403MayBeAboutTheRequest(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	several(5, failed("a", "m", Forbidden), tracker)
	assert.Equal(t, Open, view(t, tracker, "a", "m").State, "it never worked")

	tracker.Observe(good("b", "m"))
	several(50, failed("b", "m", Forbidden), tracker)
	assert.Equal(t, Closed, view(t, tracker, "b", "m").State)
	assert.Equal(t, 50, view(t, tracker, "b", "m").Failed)
	assert.Equal(t, Forbidden, view(t, tracker, "b", "m").Class)
	c.pass(time.Minute)
	tracker.Observe(probe("b", Good, ""))
	several(5, failed("b", "m", Forbidden), tracker)
	assert.Equal(t, Open, view(t, tracker, "b", "m").State, "it has not worked for long")
}

func TestRetryAfterOfAFailureIsObeyed(t *testing.T) {
	tracker, c := tracking(t, three("order"))
	busy := failed("a", "m", Server)
	busy.RetryAfter = 90 * time.Second
	tracker.Observe(busy)
	v := view(t, tracker, "a", "m")
	assert.Equal(t, Closed, v.State)
	assert.Equal(t, c.Now().Add(90*time.Second), v.LimitedUntil)
	assert.Zero(t, view(t, tracker, "a", "").LimitedUntil)
	busy.RetryAfter = time.Hour
	tracker.Observe(busy)
	assert.Equal(t, c.Now().Add(5*time.Minute), view(t, tracker, "a", "m").LimitedUntil)
}

// All that is heard of one target meets in one state, whenever it is heard.
func TestATargetHasOneState(t *testing.T) {
	tracker, _ := tracking(t, configure("order", map[string]groups{
		"gpt-4o":   {{to("a")}},
		"openai/*": {{to("a", "*")}},
		"two-*":    {{to("b", "x/*"), to("b", "x/y-*")}},
	}))
	early := Outcome{Provider: "a", Entry: "openai/*", Model: "*", Result: Failed, Class: Server}
	late := Outcome{Provider: "a", Entry: "openai/*", Model: "gpt-4o", Result: Good}
	several(4, early, tracker)
	tracker.Observe(late)
	several(4, early, tracker)
	assert.Equal(t, Closed, view(t, tracker, "a", "*").State)
	assert.Equal(t, 1, view(t, tracker, "a", "*").Good)
	assert.Zero(t, view(t, tracker, "a", "gpt-4o").Good)

	for model, want := range map[string]string{"x/*": "x/*", "x/y-*": "x/y-*", "x/z": "x/*", "x/y-z": "x/y-*"} {
		before := view(t, tracker, "b", want).Good
		tracker.Observe(Outcome{Provider: "b", Entry: "two-*", Model: model, Result: Good})
		assert.Equal(t, before+1, view(t, tracker, "b", want).Good, model)
	}
}
