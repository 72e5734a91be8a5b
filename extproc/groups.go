package extproc

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/postern-proxy/postern/wire"
)

// arranged is a route as the control plane told of it: its groups in the order that they
// are tried in, and how each stands. It does not change.
type arranged struct {
	groups, stands string // as they came
	all            []group
}

// group is one of them.
type group struct {
	members []wire.Member
	targets []int // of each member, its place among the Pick's; -1: of another version
	stands  wire.Standing
}

// part is a group, or what is left of one, for a request, with those of its members that
// rest behind it.
type part struct {
	members []wire.Member
	resting []wire.Member
	stands  wire.Standing
	doubt   bool
	price   float64 // the mean of its members; NaN: not known
	of      int     // which group of the route
}

// route reads the groups that a request came with.
func (p *Pick) route(r *Request) (*arranged, error) {
	if last := p.last.Load(); last != nil && last.groups == r.Groups && last.stands == r.Stands {
		return last, nil
	}
	var groups [][]wire.Member
	if err := json.Unmarshal([]byte(r.Groups), &groups); err != nil {
		return nil, err
	}
	next := &arranged{groups: r.Groups, stands: r.Stands}
	for i, members := range groups {
		g := group{members: members, targets: make([]int, len(members))}
		for j, m := range members {
			g.targets[j] = slices.Index(p.targets, target{m.Provider, m.Model})
		}
		if i < len(r.Stands) {
			g.stands = wire.Standing(r.Stands[i] - '0')
		}
		next.all = append(next.all, g)
	}
	p.last.Store(next)
	return next, nil
}

// arrange is the order for one request; same says that it is the route's own. Members
// that may refuse are groups of their own, behind the others that can be used: what they
// refuse no other group is asked. But first come those that can be used at all.
func (a *arranged) arrange(j *judgement) (groups [][]wire.Member, same bool) {
	parts := make([]part, 0, len(a.all)+1)
	same = true
	for i := range a.all {
		g := &a.all[i]
		before := len(parts)
		var whole bool
		parts, whole = g.split(i, parts, j)
		same = same && whole && (g.stands == wire.Resting || len(parts) == before+1)
	}
	if same && slices.IsSortedFunc(parts, part.compare) {
		return nil, true
	}
	slices.SortStableFunc(parts, part.compare)
	groups = make([][]wire.Member, 0, len(a.all)+1)
	for i := range parts {
		for _, members := range [...][]wire.Member{parts[i].members, parts[i].resting} {
			if len(members) > 0 {
				groups = append(groups, members)
			}
		}
	}
	return groups, false
}

// split adds what is left of the group: those of its members that serve the request, and
// those that may. Members that rest are put behind the part that they belong to, and if
// nothing is left of it they are what cannot be used. whole says that all of the group
// is in one place.
func (g *group) split(place int, parts []part, j *judgement) (all []part, whole bool) {
	for _, wanted := range [...]verdict{serves, doubtful} {
		one := g.those(wanted, j)
		one.of = place
		if len(one.members) == 0 {
			continue
		}
		whole = len(one.members) == len(g.members)
		if g.stands == wire.Resting {
			if last := len(parts) - 1; last >= 0 && parts[last].of == place-1 && parts[last].doubt == one.doubt {
				parts[last].resting = one.members
				continue
			}
			one.stands, whole = wire.Down, false
		}
		parts = append(parts, one)
	}
	return parts, whole
}

// those are the group's members of one verdict.
func (g *group) those(wanted verdict, j *judgement) part {
	one := part{stands: g.stands, doubt: wanted == doubtful, price: math.NaN()}
	var weight, sum float64
	for i, place := range g.targets {
		said := serves
		if place >= 0 {
			said = j.verdicts[place]
		}
		if said != wanted {
			continue
		}
		one.members = append(one.members, g.members[i])
		if share := float64(g.members[i].Weight); j.prices != nil {
			weight += share
			sum += share * priceAt(j.prices, place)
		}
	}
	if weight > 0 {
		one.price = sum / weight
	}
	return one
}

func priceAt(prices []float64, place int) float64 {
	if place < 0 {
		return math.NaN()
	}
	return prices[place]
}

// compare puts what can be used before what cannot, the sure before the doubtful, the
// better standing before the worse, and then the cheaper first, and those without a price
// last. What cannot be used stays in the order of the route.
func (p part) compare(q part) int {
	away := func(p part) bool { return p.stands >= wire.Limited }
	if by := cmp.Or(truth(away(p), away(q)), truth(p.doubt, q.doubt), cmp.Compare(p.stands, q.stands)); by != 0 || away(p) {
		return by
	}
	switch without := truth(math.IsNaN(p.price), math.IsNaN(q.price)); {
	case without != 0:
		return without
	case math.IsNaN(p.price):
		return 0
	}
	return cmp.Compare(p.price, q.price)
}

// truth puts false first.
func truth(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// attempts is the groups as Envoy's cluster specifier takes them: one an attempt, the
// members of a group moving round and the weights staying, as the control plane makes
// them of a whole route. All but the last are at guarded clusters.
func attempts(groups [][]wire.Member) *structpb.Struct {
	total, at := 0, 0
	for _, group := range groups {
		total += len(group)
	}
	all := make([]*structpb.Value, 0, total)
	for _, group := range groups {
		for turn := range group {
			clusters := make([]*structpb.Value, 0, len(group))
			for place, m := range group {
				name := group[(place+turn)%len(group)].Cluster
				if at < total-1 {
					name = wire.ClusterGuarded + strings.TrimPrefix(name, wire.ClusterProvider)
				}
				clusters = append(clusters, structure(map[string]*structpb.Value{
					"cluster_name": structpb.NewStringValue(name),
					"weight":       structpb.NewNumberValue(float64(m.Weight)),
				}))
			}
			all = append(all, structure(map[string]*structpb.Value{
				"name":     structpb.NewStringValue("left" + strconv.Itoa(at)),
				"clusters": structpb.NewListValue(&structpb.ListValue{Values: clusters}),
			}))
			at++
		}
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		wire.GroupsField: structpb.NewListValue(&structpb.ListValue{Values: all}),
	}}
}

func structure(fields map[string]*structpb.Value) *structpb.Value {
	return structpb.NewStructValue(&structpb.Struct{Fields: fields})
}
