package xds

import (
	"slices"

	"github.com/postern-proxy/postern/config"
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
