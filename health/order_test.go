package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/usage/price"
)

var noon = newClock().now

// ordered is the order of one entry, as configured if it is not in the answer.
func ordered(cfg *config.Config, entry string, views []View, prices *price.Table) []int {
	plan, _ := Order(cfg, views, prices, noon, nil)
	orders := plan.Order
	if order, ok := orders[entry]; ok {
		return order
	}
	return identity(len(cfg.Models[entry].UsableRoute(cfg.Providers)))
}

func broken(provider, model string, until, erred time.Duration) View {
	return View{Provider: provider, Model: model, State: Open, Until: noon.Add(until), ErrorAt: noon.Add(erred)}
}

func TestOrderOfBreakers(t *testing.T) {
	s := time.Second
	half := func(p, m string) View { return View{Provider: p, Model: m, State: HalfOpen} }
	many := func(p, m string, until time.Duration) View {
		return View{Provider: p, Model: m, State: Closed, LimitedUntil: noon.Add(until)}
	}
	for name, test := range map[string]struct {
		views []View
		want  []int
	}{
		"all well":                      {want: []int{0, 1, 2}},
		"the first model is down":       {[]View{broken("a", "m", s, -s)}, []int{1, 2, 0}},
		"the first provider is down":    {[]View{broken("a", "", s, -s)}, []int{1, 2, 0}},
		"another model is down":         {[]View{broken("a", "n", s, -s)}, []int{0, 1, 2}},
		"the second is down":            {[]View{broken("b", "m", s, -s)}, []int{0, 2, 1}},
		"half-open is used":             {[]View{half("a", "m")}, []int{0, 1, 2}},
		"limited comes after the well":  {[]View{many("a", "m", s)}, []int{1, 2, 0}},
		"limited comes before the down": {[]View{many("a", "m", time.Hour), broken("b", "m", s, -s), broken("c", "m", s, -s)}, []int{0, 1, 2}},
		"a limit that is over":          {[]View{many("a", "m", 0)}, []int{0, 1, 2}},
		"limited and down is down":      {[]View{many("a", "m", s), broken("a", "", s, -s), many("b", "m", time.Hour)}, []int{2, 1, 0}},
		"of limits the first to end":    {[]View{many("a", "m", 3*s), many("b", "m", s), many("c", "m", 2*s)}, []int{1, 2, 0}},
		"all down: the first to try":    {[]View{broken("a", "m", 3*s, -s), broken("b", "m", s, -s), broken("c", "m", 2*s, -s)}, []int{1, 2, 0}},
		"all down: the longest ago":     {[]View{broken("a", "m", s, -s), broken("b", "m", s, -2*s), broken("c", "m", s, -3*s)}, []int{2, 1, 0}},
		"all down alike":                {[]View{broken("a", "m", s, -s), broken("b", "m", s, -s), broken("c", "m", s, -s)}, []int{0, 1, 2}},
		"the worse of the two":          {[]View{broken("a", "m", s, -s), broken("a", "", 9*s, -s), broken("b", "m", 2*s, -s), broken("c", "", 3*s, -s)}, []int{1, 2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, ordered(three("order"), "m", test.views, nil))
			assert.Equal(t, test.want, ordered(three("latency"), "m", test.views, nil))
			assert.Equal(t, test.want, ordered(three("cost"), "m", test.views, nil))
		})
	}
}

func TestAGroupIsWhatMostOfItIs(t *testing.T) {
	s := time.Second
	group := func(a, b int) *config.Config {
		return configure("order", map[string]groups{"m": {{weighing(to("a"), a), weighing(to("b"), b)}, {to("c")}}})
	}
	for name, test := range map[string]struct {
		cfg   *config.Config
		views []View
		want  []int
	}{
		"most is well":                {group(90, 10), []View{broken("b", "m", s, -s)}, []int{0, 1}},
		"half is well":                {group(1, 1), []View{broken("b", "m", s, -s)}, []int{0, 1}},
		"most is down":                {group(90, 10), []View{broken("a", "m", s, -s)}, []int{1, 0}},
		"but better than all":         {group(90, 10), []View{broken("a", "m", s, -s), broken("c", "m", -s, -s)}, []int{0, 1}},
		"and than a limit":            {group(90, 10), []View{broken("a", "m", s, -s), {Provider: "c", LimitedUntil: noon.Add(s)}}, []int{0, 1}},
		"what has no weight is out":   {group(0, 1), []View{broken("b", "m", s, -s)}, []int{1, 0}},
		"what has no weight is not":   {group(0, 1), []View{broken("a", "m", s, -s)}, []int{0, 1}},
		"the better one is its hope":  {group(1, 1), []View{broken("a", "m", 9*s, -s), broken("b", "m", s, -s), broken("c", "m", 2*s, -s)}, []int{0, 1}},
		"however they are configured": {group(1, 1), []View{broken("a", "m", s, -s), broken("b", "m", 9*s, -s), broken("c", "m", 2*s, -s)}, []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, ordered(test.cfg, "m", test.views, nil)) })
	}
}

func TestWhoCannotBeUsedRests(t *testing.T) {
	s := time.Second
	a, b := config.Member{Provider: "a"}, config.Member{Provider: "b"}
	for name, test := range map[string]struct {
		views []View
		want  []config.Member
	}{
		"nobody":                 {nil, nil},
		"one of two":             {[]View{broken("a", "m", s, -s)}, []config.Member{a}},
		"whose provider is down": {[]View{broken("a", "", s, -s)}, []config.Member{a}},
		"who is limited":         {[]View{{Provider: "b", Model: "m", LimitedUntil: noon.Add(s)}}, []config.Member{b}},
		"who was limited":        {[]View{{Provider: "b", Model: "m", LimitedUntil: noon}}, nil},
		"who is half-open":       {[]View{{Provider: "a", Model: "m", State: HalfOpen}}, nil},
		"all":                    {[]View{broken("a", "m", s, -s), broken("b", "m", s, -s)}, nil},
		"down and limited":       {[]View{broken("a", "m", s, -s), {Provider: "b", Model: "m", LimitedUntil: noon.Add(s)}}, nil},
		"another model":          {[]View{broken("a", "n", s, -s)}, nil},
		"who has no weight":      {[]View{broken("c", "m", s, -s)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configure("order", map[string]groups{"m": {{to("a"), to("b"), weighing(to("c"), 0)}}})
			plan, _ := Order(cfg, test.views, nil, noon, nil)
			assert.Equal(t, test.want, plan.Rest["m"])
			cfg.Health.Breakers = config.BreakersOff
			plan, _ = Order(cfg, test.views, nil, noon, nil)
			assert.Empty(t, plan.Rest)
		})
	}
}

func TestAKeyRests(t *testing.T) {
	cfg := twoKeys()
	cfg.DefaultProvider = "a"
	refused, busy := broken("a", "", time.Second, 0), View{Provider: "a", Key: "1", Model: "m", LimitedUntil: noon.Add(time.Second)}
	refused.Key = "0"
	plan, _ := Order(cfg, []View{refused}, nil, noon, nil)
	first := []config.Member{{Provider: "a", Key: "0"}}
	assert.Equal(t, map[string][]config.Member{"": first, "m": first, "n": first}, plan.Rest)
	plan, _ = Order(cfg, []View{busy}, nil, noon, nil)
	assert.Equal(t, map[string][]config.Member{"m": {{Provider: "a", Key: "1"}}}, plan.Rest)
	plan, _ = Order(cfg, []View{refused, busy}, nil, noon, nil)
	assert.Equal(t, map[string][]config.Member{"": first, "n": first}, plan.Rest)
}

func TestOnlyWhatDiffersIsSaid(t *testing.T) {
	cfg := configure("order", map[string]groups{
		"one": {{to("a")}}, "two": {{to("a")}, {to("b")}}, "other": {{to("b")}, {to("a")}},
	})
	plan, _ := Order(cfg, []View{broken("a", "", time.Second, 0)}, nil, noon, nil)
	orders := plan.Order
	assert.Equal(t, map[string][]int{"two": {1, 0}}, orders)
	plan, _ = Order(cfg, nil, nil, noon, nil)
	assert.Empty(t, plan.Order)
	assert.Empty(t, plan.Rest)
}

func TestOrderIsOfUsableGroups(t *testing.T) {
	cfg := three("order")
	var key config.Secret
	require.NoError(t, key.UnmarshalText([]byte("${MISSING}")))
	cfg.Providers["a"].Key = key
	assert.Equal(t, []int{1, 0}, ordered(cfg, "m", []View{broken("b", "m", time.Second, 0)}, nil))
}

func TestOrderByCost(t *testing.T) {
	prices, err := price.Load(price.Settings{Quotes: map[string]price.Quote{
		"a/m":   {Input: "10", Output: "10"},
		"b/m":   {Input: "1", Output: "1"},
		"c/m":   {Input: "2", Output: "2"},
		"a/in":  {Input: "1", Output: "9"}, // 12 of 4
		"b/in":  {Input: "4", Output: "4"}, // 16 of 4
		"c/in":  {Input: "0", Output: "8"}, // 8 of 4
		"a/vec": {Input: "3", Output: "-"},
		"b/vec": {Input: "2", Output: "-"},
		"c/vec": {Input: "1", Output: "-"},
		"a/un":  {Input: "3", Output: "3"},
		"c/un":  {Input: "2", Output: "2"},
		"b/tie": {Input: "1", Output: "1"},
		"c/tie": {Input: "1", Output: "1"},
		"a/tie": {Input: "1", Output: "1"},
	}})
	require.NoError(t, err)
	each := func(model string) groups { return groups{{to("a", model)}, {to("b", model)}, {to("c", model)}} }
	cfg := configure("cost", map[string]groups{
		"m": each(""), "in": each("in"), "vec": each("vec"), "un": each("un"), "tie": each("tie"), "gpt-*": each(""),
		"mean": {{weighing(to("a", "m"), 1), weighing(to("b", "m"), 9)}, {to("c", "m")}}, // 1.9
		"mix":  {{weighing(to("a", "m"), 2), weighing(to("b", "m"), 8)}, {to("c", "m")}}, // 2.8
		"hole": {{to("b", "m"), to("b", "un")}, {to("c", "m")}},
		"none": {{to("a", "m"), weighing(to("b", "un"), 0)}, {to("c", "m")}},
	})
	for entry, want := range map[string][]int{
		"m": {1, 2, 0}, "in": {2, 0, 1}, "vec": {2, 1, 0}, "un": {2, 0, 1}, "tie": {0, 1, 2}, "gpt-*": {0, 1, 2},
		"mean": {0, 1}, "mix": {1, 0}, "hole": {1, 0}, "none": {1, 0},
	} {
		assert.Equal(t, want, ordered(cfg, entry, nil, prices), entry)
	}
	assert.Equal(t, []int{2, 0, 1}, ordered(cfg, "m", []View{broken("b", "", time.Second, 0)}, prices), "breakers stand over prices")
	assert.Equal(t, []int{0, 1, 2}, ordered(cfg, "m", nil, nil), "without prices as configured")
}

// clocked is Order over time.
type clocked struct {
	t      *testing.T
	cfg    *config.Config
	now    time.Time
	memory Memory
	views  map[string]*View
}

// measured makes groups a, b, c with these averages in milliseconds; 0 is never measured.
func measured(t *testing.T, averages ...int) *clocked {
	c := &clocked{t: t, cfg: three("latency"), now: noon, views: map[string]*View{}}
	for i, average := range averages {
		name := string(rune('a' + i))
		v := &View{Provider: name, Model: "m", State: Closed, GoodAt: noon}
		c.views[name] = v
		if average > 0 {
			c.is(name, average)
		}
	}
	return c
}

func (c *clocked) is(name string, average int) {
	v := c.views[name]
	v.FirstByte = time.Duration(average) * time.Millisecond
	v.Samples += enoughSamples
	v.MeasuredAt = c.now
}

// after moves the time, with a look every half second, and gives the order then.
func (c *clocked) after(d time.Duration) []int {
	c.t.Helper()
	end := c.now.Add(d)
	for {
		views := make([]View, 0, len(c.views))
		for _, v := range c.views {
			views = append(views, *v)
		}
		kept := fmt.Sprint(c.memory)
		plan, next := Order(c.cfg, views, nil, c.now, c.memory)
		orders := plan.Order
		require.Equal(c.t, kept, fmt.Sprint(c.memory), "what was remembered is not changed")
		c.memory = next
		if !c.now.Before(end) {
			if order, ok := orders["m"]; ok {
				return order
			}
			return []int{0, 1, 2}
		}
		c.now = c.now.Add(min(500*time.Millisecond, end.Sub(c.now)))
	}
}

func TestOrderByLatency(t *testing.T) {
	for name, test := range map[string]struct {
		averages []int
		want     []int
	}{
		"the quickest first":              {[]int{300, 200, 100}, []int{2, 1, 0}},
		"a little is not enough":          {[]int{100, 90, 85}, []int{0, 1, 2}},
		"a fifth is":                      {[]int{100, 90, 80}, []int{2, 0, 1}},
		"of two that are, the better one": {[]int{100, 79, 78}, []int{2, 1, 0}},
		"as configured":                   {[]int{100, 200, 300}, []int{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			c := measured(t, test.averages...)
			assert.Equal(t, []int{0, 1, 2}, c.after(dwell-time.Millisecond))
			assert.Equal(t, test.want, c.after(time.Second))
		})
	}
}

func TestABriefLeadChangesNothing(t *testing.T) {
	c := measured(t, 100, 120, 120)
	for range 5 {
		c.is("b", 50)
		assert.Equal(t, []int{0, 1, 2}, c.after(dwell-time.Second))
		c.is("b", 120)
		assert.Equal(t, []int{0, 1, 2}, c.after(time.Second))
	}
	c.is("b", 50)
	assert.Equal(t, []int{1, 0, 2}, c.after(dwell))
	c.is("b", 110) // not clearly slower
	assert.Equal(t, []int{1, 0, 2}, c.after(10*dwell))
	c.is("b", 126)
	assert.Equal(t, []int{0, 1, 2}, c.after(dwell))
}

func TestBreakersDoNotWait(t *testing.T) {
	c := measured(t, 300, 100, 200)
	assert.Equal(t, []int{1, 2, 0}, c.after(dwell))
	c.views["b"].State, c.views["b"].Until = Open, c.now.Add(time.Second)
	assert.Equal(t, []int{2, 0, 1}, c.after(0))
	c.views["b"].State = HalfOpen
	assert.Equal(t, []int{1, 2, 0}, c.after(0))
}

func TestWhatWasNeverMeasuredGetsItsTurn(t *testing.T) {
	c := measured(t, 0, 0, 0)
	assert.Equal(t, []int{0, 1, 2}, c.after(10*time.Minute), "without traffic there is nothing to learn")
	c.is("a", 100)
	assert.Equal(t, []int{1, 0, 2}, c.after(0))
	c.is("b", 50)
	assert.Equal(t, []int{2, 0, 1}, c.after(0))
	c.is("c", 200)
	assert.Equal(t, []int{0, 1, 2}, c.after(0))
	assert.Equal(t, []int{1, 0, 2}, c.after(dwell))
}

func TestATurnEnds(t *testing.T) {
	c := measured(t, 100, 0, 100)
	assert.Equal(t, []int{1, 0, 2}, c.after(turnLongest-time.Second))
	c.is("a", 100)
	c.is("c", 100)
	assert.Equal(t, []int{0, 2, 1}, c.after(time.Second), "nothing came of it")
	assert.Equal(t, []int{0, 2, 1}, c.after(stale-time.Second))
	c.is("a", 100)
	c.is("c", 100)
	assert.Equal(t, []int{1, 0, 2}, c.after(time.Second), "but it is tried again")
	c.views["b"].State = Open
	assert.Equal(t, []int{0, 2, 1}, c.after(0), "a failure ends it at once")
}

func TestOnlyWhatIsWellGetsATurn(t *testing.T) {
	c := measured(t, 100, 0, 100)
	c.views["b"].ErrorAt = noon.Add(time.Second)
	assert.Equal(t, []int{0, 2, 1}, c.after(time.Minute))
	c.views["b"].GoodAt = c.now // a probe
	assert.Equal(t, []int{1, 0, 2}, c.after(0))
}

// A turn is as long as it takes to ask often enough, so that a slow one gets little.
func TestATurnIsShortWhereMuchIsAsked(t *testing.T) {
	assert.Equal(t, turnLongest, turnOf(0))
	assert.Equal(t, turnLongest, turnOf(0.5))
	assert.Equal(t, 10*time.Second, turnOf(2))
	assert.Equal(t, turnShortest, turnOf(1e9))
	c := measured(t, 100, 0, 100)
	c.views["a"].Good = 50 // in ten seconds
	assert.Equal(t, []int{1, 0, 2}, c.after(4*time.Second-time.Millisecond))
	assert.Equal(t, []int{0, 2, 1}, c.after(time.Millisecond))
	c.is("b", 50) // what it was asked is heard of when it ends
	assert.Equal(t, []int{1, 0, 2}, c.after(dwell))
}

// What an answer takes is its first byte and its tokens.
func TestOrderByWhatAnAnswerTakes(t *testing.T) {
	c := measured(t, 100, 300, 300)
	c.views["a"].Pace, c.views["b"].Pace = 20*time.Millisecond, 5*time.Millisecond
	assert.Equal(t, []int{0, 1, 2}, c.after(time.Minute), "as long as one does not say its tokens")
	c.views["c"].Pace = 100 * time.Millisecond
	assert.Equal(t, []int{1, 0, 2}, c.after(dwell), "0.8 s, 2.1 s and 10.3 s")
}

// One that was slow and is not any more is noticed.
func TestOneThatRecoveredIsNoticed(t *testing.T) {
	tracker, clock := tracking(t, three("latency"))
	answer := func(provider string, took time.Duration) {
		o := good(provider, "m")
		o.FirstByte = took
		tracker.Observe(o)
	}
	var memory Memory
	order := func() []int {
		var plan Plan
		plan, memory = Order(three("latency"), tracker.Views(), nil, clock.Now(), memory)
		if order, ok := plan.Order["m"]; ok {
			return order
		}
		return []int{0, 1, 2}
	}
	slow, lost, asked, back := true, time.Time{}, 0, time.Duration(0)
	for range 10 * 240 { // four minutes, ten requests a second
		first := order()[0]
		took := map[int]time.Duration{0: 50 * time.Millisecond, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond}[first]
		if first == 0 && slow {
			took = time.Second
			asked++
		}
		answer(string(rune('a'+first)), took)
		clock.pass(100 * time.Millisecond)
		switch {
		case slow && clock.Now().Sub(noon) > time.Minute:
			slow, lost = false, clock.Now()
		case !slow && first == 0 && back == 0:
			back = clock.Now().Sub(lost)
		}
	}
	assert.Less(t, asked, 100, "of 600, of which it was first for a while")
	assert.Positive(t, back)
	assert.LessOrEqual(t, back, stale)
	assert.Equal(t, 0, order()[0])
}

func TestOldMeasuresAreTakenAgain(t *testing.T) {
	c := measured(t, 100, 200, 300)
	assert.Equal(t, []int{0, 1, 2}, c.after(stale-time.Second))
	c.is("a", 100)
	assert.Equal(t, []int{1, 0, 2}, c.after(time.Second))
	c.is("b", 50)
	assert.Equal(t, []int{2, 0, 1}, c.after(0))
	c.is("c", 300)
	assert.Equal(t, []int{1, 0, 2}, c.after(dwell))
}

func TestAnotherRouteBeginsAnew(t *testing.T) {
	c := measured(t, 300, 200, 100)
	require.Equal(t, []int{2, 1, 0}, c.after(dwell))
	c.cfg = three("latency")
	assert.Equal(t, []int{2, 1, 0}, c.after(0), "the same route goes on")
	c.cfg.Models["m"].Route = groups{{to("b")}, {to("a")}, {to("c")}}
	assert.Equal(t, []int{0, 1, 2}, c.after(0))
	c.cfg.Models["m"].Route = groups{{to("b")}, {to("a")}}
	assert.Equal(t, []int{0, 1, 2}, c.after(0), "as configured, of two")
	c.cfg = three("order")
	c.after(0)
	assert.Empty(t, c.memory)
}

// Whatever the world is like, an order is a permutation, the same world gives the same
// order, and no group that can be used stands behind one that cannot.
func TestOrderIsAlwaysAPermutation(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	some := func(d time.Duration) time.Time { return noon.Add(time.Duration(dice.Int64N(int64(d))) - d/2) }
	var memory Memory
	for round := range 3000 {
		var route groups
		for range 2 + dice.IntN(5) {
			group := []config.Target{}
			for range 1 + dice.IntN(3) {
				group = append(group, weighing(to(string(rune('a'+dice.IntN(3)))), dice.IntN(3)))
			}
			route = append(route, group)
		}
		cfg := configure([]string{"order", "cost", "latency"}[dice.IntN(3)], map[string]groups{"m": route})
		var views []View
		allDown := dice.IntN(3) == 0
		for _, provider := range []string{"a", "b", "c"} {
			for _, model := range []string{"", "m"} {
				v := View{
					Provider: provider, Model: model, State: states[dice.IntN(3)],
					Until: some(time.Minute), ErrorAt: some(time.Minute), GoodAt: some(time.Minute), LimitedUntil: some(time.Minute),
					FirstByte: time.Duration(dice.IntN(3)) * time.Second, Samples: dice.Uint64N(9), MeasuredAt: some(time.Hour),
				}
				if allDown {
					v.State = Open
				}
				views = append(views, v)
			}
		}
		usableRoute := cfg.Models["m"].UsableRoute(cfg.Providers)
		now := noon.Add(time.Duration(round) * time.Second)
		plan, next := Order(cfg, views, nil, now, memory)
		again, _ := Order(cfg, views, nil, now, memory)
		require.Equal(t, plan, again)
		orders := plan.Order
		order, differs := orders["m"]
		if !differs {
			order = identity(len(usableRoute))
		}
		require.ElementsMatch(t, identity(len(usableRoute)), order)
		if len(order) > 0 {
			w := world{views: map[key]*View{}, now: now}
			for i := range views {
				w.views[key{views[i].Provider, "", views[i].Model}] = &views[i]
			}
			ranks := []rank{}
			for _, i := range order {
				g := w.group("m", usableRoute[i])
				ranks = append(ranks, g.standing.rank)
			}
			require.True(t, slices.IsSorted(ranks), "%v", ranks)
		}
		memory = next
	}
}
