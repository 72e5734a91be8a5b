package xds

import (
	"slices"

	groups "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/priority_group/v3"

	"github.com/postern-proxy/postern/config"
)

// rests says which members of an entry's groups come after the others of their group.
func (in Input) rests(entry string) func(member) bool {
	resting := in.Rest[entry]
	return func(m member) bool {
		return slices.Contains(resting, config.Member{Provider: m.provider, Key: m.key, Model: m.model})
	}
}

// behind has the members that rest stand behind the others of their group, in a group of
// their own: an attempt is made with them once all others failed. A group of which all
// would rest stays as it is.
func behind(route [][]member, rests func(member) bool) [][]member {
	all := make([][]member, 0, len(route))
	for _, group := range route {
		well, bad := split(group, rests)
		all = append(all, well)
		if len(bad) > 0 {
			all = append(all, bad)
		}
	}
	return all
}

// split parts a group in those that are used and those that rest; none of them does if
// all would.
func split(group []member, rests func(member) bool) (well, bad []member) {
	for _, m := range group {
		if rests(m) {
			bad = append(bad, m)
		} else {
			well = append(well, m)
		}
	}
	if len(well) == 0 {
		return group, nil
	}
	return well, bad
}

// attempts are those of a route, one after the other.
func (in Input) attempts(entry string, route [][]member) []*groups.PriorityGroup {
	if in.Config.Models[entry].Sticky == "" {
		return rotate(behind(route, in.rests(entry)))
	}
	return rotateInPlace(route, in.rests(entry))
}

// evenly is the sum that the weights of a sticky group have about, so that a part of
// it that is shared out is shared out fairly.
const evenly = 1_000_000

// column is a part of what Envoy draws from, and whom it means at each attempt.
type column struct {
	weight uint64
	turns  []member
}

// rotateInPlace is rotate for routes where the same hash has to mean the same member.
// What is drawn for the members that rest is shared out among the others by their
// weights, and everybody else's stays where it is: only who is there now must move.
func rotateInPlace(route [][]member, rests func(member) bool) []*groups.PriorityGroup {
	var attempts []*groups.PriorityGroup
	for _, group := range route {
		columns := columnsOf(stretched(group), rests)
		for turn := range group {
			attempts = append(attempts, attempt(len(attempts), columns, turn))
		}
	}
	return attempts
}

// stretched is the group with weights of about the same sum as every other's. The factor
// follows from the weights alone, so that it is the same whoever rests.
func stretched(group []member) []member {
	if len(group) == 1 {
		return group
	}
	var sum uint64
	for _, m := range group {
		sum += m.weight
	}
	factor := max(1, evenly/max(1, sum))
	group = slices.Clone(group)
	for i := range group {
		group[i].weight *= factor
	}
	return group
}

func columnsOf(group []member, rests func(member) bool) []column {
	well, bad := split(group, rests)
	var sum uint64
	for _, m := range well {
		sum += m.weight
	}
	var columns []column
	usable, resting := 0, 0
	for _, m := range group {
		if len(bad) == 0 || !rests(m) {
			columns = append(columns, column{m.weight, slices.Concat(from(well, usable), from(bad, resting))})
			usable++
			continue
		}
		var before, cut uint64
		for i, other := range well {
			before += other.weight
			share := m.weight*before/sum - cut // of 60 bits at most
			cut += share
			if share > 0 {
				columns = append(columns, column{share, slices.Concat(from(well, i), from(bad, resting))})
			}
		}
		resting++
	}
	return columns
}

// from is all of them, from a place on round to it again.
func from(all []member, place int) []member {
	if len(all) == 0 {
		return nil
	}
	place %= len(all)
	return slices.Concat(all[place:], all[:place])
}

// attempt is the columns' group at one attempt.
func attempt(number int, columns []column, turn int) *groups.PriorityGroup {
	group := &groups.PriorityGroup{Name: groupName(number)}
	for _, c := range columns {
		name := c.turns[turn].cluster
		if n := len(group.GetClusters()); n > 0 && group.GetClusters()[n-1].GetClusterName() == name {
			group.GetClusters()[n-1].Weight.Value += uint32(c.weight) //nolint:gosec // bounded
			continue
		}
		group.Clusters = append(group.Clusters, &groups.ClusterWeight{
			ClusterName: name,
			Weight:      uint32Value(uint32(c.weight)), //nolint:gosec // bounded
		})
	}
	return group
}
