package health

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/usage/price"
	"github.com/postern-proxy/postern/wire"
)

// Order says how the route of each model is tried: in which order its groups, and which
// members of a group come last there. Only entries are in the plan that are not tried as
// configured. It is a pure function; what it must know of its last answer is in the
// Memory, which it gives anew. prices may be nil.
//
//   - prefer: order keeps the order as configured.
//   - prefer: cost puts the cheaper group first: the price of three input tokens and one
//     output token (of input alone where no target has a price for output, as with
//     embeddings), the mean of the group's targets by their weights. A group with a
//     target whose price is not known comes after those with prices; the price of a
//     pattern's target is not, unless its own name is without a *.
//   - prefer: latency puts the group first whose answers take less time; see latency.
//
// Over that stand the breakers, at once: a group that cannot be used comes after those
// that can, and among those the least bad first; see standing. So does a member of a
// group. A configuration can switch that off.
func Order(cfg *config.Config, views []View, prices *price.Table, now time.Time, before Memory) (Plan, Memory) {
	world := world{views: make(map[key]*View, len(views)), prices: prices, now: now, window: cmp.Or(time.Duration(cfg.Health.Window), defaultWindow)}
	for i := range views {
		world.views[key{views[i].Provider, views[i].Key, views[i].Model}] = &views[i]
	}
	plan, after := Plan{Order: map[string][]int{}, Rest: map[string][]config.Member{}, Stands: map[string][]wire.Standing{}}, Memory{}
	breaks := cfg.Health.Breakers != config.BreakersOff
	if name, p, ok := cfg.Fallback(); breaks && ok {
		plan.resting("", world.rest("", [][]config.Target{{{Provider: name}}}, map[string]*config.Provider{name: p}))
	}
	for entry, model := range cfg.Models {
		route := model.UsableRoute(cfg.Providers)
		if breaks {
			plan.resting(entry, world.rest(entry, route, cfg.Providers))
		}
		if len(route) < 2 {
			continue
		}
		groups := make([]group, len(route))
		for i, targets := range route {
			groups[i] = world.group(entry, targets)
		}
		order := identity(len(route))
		switch model.Prefer {
		case config.PreferCost:
			byCost(order, groups)
		case config.PreferLatency:
			var next memo
			order, next = latency(groups, before[entry], now)
			after[entry] = next
		}
		if breaks {
			slices.SortStableFunc(order, func(a, b int) int { return groups[a].standing.compare(groups[b].standing) })
			if model.Arranges(entry, cfg.Providers) {
				plan.standing(entry, groups)
			}
		}
		if !inOrder(order) {
			plan.Order[entry] = order
		}
	}
	return plan, after
}

func (p Plan) resting(entry string, members []config.Member) {
	if len(members) > 0 {
		p.Rest[entry] = members
	}
}

// world is what an order follows from.
type world struct {
	views  map[key]*View
	prices *price.Table
	now    time.Time
	window time.Duration // of the views' counts
}

// group is what is known of one group of a route.
type group struct {
	name     string // its targets and weights, to know it again
	standing standing

	blend, input float64 // the price; NaN: not known

	firstByte time.Duration // 0: not known
	pace      time.Duration // of a token after that; 0: not known, or not of all
	takes     time.Duration // by what groups are ordered; 0: not known
	rate      float64       // good answers a second
	weighed   int           // the weight of the targets that they are of
	measured  time.Time     // when that last moved
	samples   uint64
	promising bool // nothing speaks against trying it: closed, and the last word was good
}

// standing is whether a group can be used. Groups of one rank keep the order of the
// preference, until they cannot be used at all: then the one that may be tried again
// first comes first, and of two of those the one that failed longer ago.
type standing struct {
	rank  rank
	again time.Time
	erred time.Time
}

// rank is how much of a group can be used.
type rank = wire.Standing

const (
	usable  = wire.Usable
	partly  = wire.Partly
	limited = wire.Limited
	down    = wire.Down
)

func (s standing) compare(other standing) int {
	if by := cmp.Compare(s.rank, other.rank); by != 0 || s.rank < limited {
		return by
	}
	return cmp.Or(s.again.Compare(other.again), s.erred.Compare(other.erred))
}

// group sums up the targets. A target is as bad as the worse of its model's state and
// its provider's.
func (w *world) group(entry string, targets []config.Target) group {
	g, paced := group{promising: true}, true
	total, available := 0, 0
	for _, target := range targets {
		share := target.Share()
		if share == 0 {
			continue
		}
		at := keyOf(entry, target)
		g.name += at.provider + "=" + at.model + "\n"
		s := w.target(at)
		if total == 0 || s.compare(g.standing) < 0 {
			g.standing = s
		}
		total += share
		if s.rank == usable {
			available += share
		}
		g.promising = g.promising && s.rank == usable && w.promising(at)
		g.blend += float64(share) * w.cost(at, price.Tokens{Input: 3000, Output: 1000})
		g.input += float64(share) * w.cost(at, price.Tokens{Input: 1000})
		paced = g.measure(w.views[at], share, w.window) && paced
	}
	g.blend /= float64(total)
	g.input /= float64(total)
	if g.weighed > 0 {
		g.firstByte /= time.Duration(g.weighed)
		g.pace /= time.Duration(g.weighed)
	}
	if !paced {
		g.pace = 0
	}
	if g.standing.rank == usable && 2*available < total {
		g.standing.rank = partly
	}
	return g
}

// measure adds a target's part of the averages, which are sums until all are added. paced
// is false where a measured target has not said its tokens.
func (g *group) measure(model *View, share int, window time.Duration) (paced bool) {
	if model == nil {
		return true
	}
	g.samples += model.Samples
	g.rate += float64(model.Good) / window.Seconds()
	if model.MeasuredAt.After(g.measured) {
		g.measured = model.MeasuredAt
	}
	if model.Samples >= enoughSamples && model.FirstByte > 0 {
		g.weighed += share
		g.firstByte += time.Duration(share) * model.FirstByte
		g.pace += time.Duration(share) * model.Pace
		return model.Pace > 0
	}
	return true
}

// target is the standing of one target, with the best of its provider's keys.
func (w *world) target(at key) standing { return w.worst(at) }

// worst is the worst standing of a provider's, and more.
func (w *world) worst(of ...key) standing {
	worst := w.views[key{provider: of[0].provider}].standing(w.now)
	for _, k := range of {
		if s := w.views[k].standing(w.now); s.compare(worst) > 0 {
			worst = s
		}
	}
	return worst
}

// standing is what a view alone says; of nothing it is the best.
func (v *View) standing(now time.Time) standing {
	switch {
	case v == nil:
	case v.State == Open:
		return standing{down, v.Until, v.ErrorAt}
	case v.Limit(now):
		return standing{limited, v.LimitedUntil, v.ErrorAt}
	}
	return standing{}
}

// promising says that nothing speaks against asking the target: its breakers are closed
// and what was heard of it last was good.
func (w *world) promising(at key) bool {
	for _, v := range []*View{w.views[at], w.views[key{provider: at.provider}]} {
		if v != nil && (v.State != Closed || v.ErrorAt.After(v.GoodAt)) {
			return false
		}
	}
	return true
}

// cost is dollars; NaN: not known.
func (w *world) cost(at key, tokens price.Tokens) float64 {
	if w.prices == nil {
		return math.NaN()
	}
	amount, known, _ := w.prices.Cost(at.provider, at.model, tokens)
	if !known {
		return math.NaN()
	}
	return amount.Dollars()
}

// byCost sorts by price. Groups of one price, and those without, stay as configured.
func byCost(order []int, groups []group) {
	of := func(g *group) float64 { return g.blend }
	if !slices.ContainsFunc(groups, func(g group) bool { return !math.IsNaN(g.blend) }) {
		of = func(g *group) float64 { return g.input }
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := of(&groups[a]), of(&groups[b])
		switch {
		case math.IsNaN(x) && math.IsNaN(y):
			return 0
		case math.IsNaN(x):
			return 1
		case math.IsNaN(y):
			return -1
		}
		return cmp.Compare(x, y)
	})
}

func identity(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

func inOrder(order []int) bool { return slices.IsSorted(order) }
