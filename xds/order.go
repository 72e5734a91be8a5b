package xds

import (
	"slices"
	"strings"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

// ordered is the usable route of a model's entry, its groups in the order that they are
// tried in.
func (in Input) ordered(name string) [][]config.Target {
	route := in.Config.Models[name].UsableRoute(in.Config.Providers)
	order := in.Order[name]
	if !permutes(order, len(route)) {
		return route
	}
	moved := make([][]config.Target, 0, len(order))
	for _, i := range order {
		moved = append(moved, route[i])
	}
	return moved
}

// stands is how the groups of in.ordered stand, with those that rest behind theirs
// (behind), a digit each; empty where all can be used.
func (in Input) stands(name string, groups [][]member) string {
	all, order := in.Stands[name], in.Order[name]
	if len(all) != len(groups) {
		all = make([]wire.Standing, len(groups))
	}
	var text strings.Builder
	for i, group := range groups {
		at := i
		if permutes(order, len(groups)) {
			at = order[i]
		}
		text.WriteByte('0' + byte(all[at]))
		if _, resting := split(group, in.rests(name)); len(resting) > 0 {
			text.WriteByte('0' + byte(wire.Resting))
		}
	}
	if strings.Trim(text.String(), "0") == "" {
		return ""
	}
	return text.String()
}

// permutes says that order has each of 0 to n-1 once.
func permutes(order []int, n int) bool {
	if len(order) != n {
		return false
	}
	sorted := slices.Sorted(slices.Values(order))
	for i, at := range sorted {
		if i != at {
			return false
		}
	}
	return true
}
