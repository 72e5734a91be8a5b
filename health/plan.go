package health

import (
	"maps"
	"slices"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

// Plan is how the routes are tried that are not tried as configured. It is not changed
// once it was given.
type Plan struct {
	// Order has for an entry of the configuration each index of its usable groups
	// (config.Model.UsableRoute) once, as they are tried.
	Order map[string][]int
	// Rest has for an entry, or "" for what names no model, those members of its groups
	// that come after the others of their group: they cannot be used, and another can.
	Rest map[string][]config.Member
	// Stands is how the usable groups of an entry stand, in the order of the
	// configuration: only of the entries whose requests have an order of their own within
	// that (config.Model.Arranges), and whose groups cannot all be used.
	Stands map[string][]wire.Standing
}

// Equal says that two plans are the same.
func (p Plan) Equal(other Plan) bool {
	return maps.EqualFunc(p.Order, other.Order, slices.Equal) && maps.EqualFunc(p.Rest, other.Rest, slices.Equal) &&
		maps.EqualFunc(p.Stands, other.Stands, slices.Equal)
}

// standing notes how an entry's groups stand.
func (p Plan) standing(entry string, groups []group) {
	stands := make([]wire.Standing, len(groups))
	for i := range groups {
		stands[i] = groups[i].standing.rank
	}
	if slices.Max(stands) != usable {
		p.Stands[entry] = stands
	}
}

// rest are the members of a route that have to rest. One that does so in one group does in
// all, and a group of which all would has none of them rest: who compiles the plan sees to
// that.
func (w *world) rest(entry string, route [][]config.Target, providers map[string]*config.Provider) []config.Member {
	var all []config.Member
	for _, targets := range route {
		var bad []config.Member
		well := false
		for _, target := range targets {
			if target.Share() == 0 {
				continue
			}
			for _, m := range target.Members(providers[target.Provider]) {
				if w.member(keyOf(entry, target), m.Key).rank == usable {
					well = true
				} else if !slices.Contains(all, m) {
					bad = append(bad, m)
				}
			}
		}
		if well {
			all = append(all, bad...)
		}
	}
	return all
}

// member is the standing of a target with one of its provider's keys.
func (w *world) member(at key, account string) standing {
	return w.worst(at, key{at.provider, account, at.model}, key{provider: at.provider, account: account})
}
