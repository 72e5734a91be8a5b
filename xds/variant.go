package xds

import (
	"slices"
	"strings"

	"github.com/postern-proxy/postern/config"
)

// variant is a provider as one kind of attempt meets it: with one of its keys, and
// with what that attempt must write itself because the route's other targets differ.
// Each is a cluster of its own.
type variant struct {
	provider   string
	key        string // which of its keys; empty where it has not several
	path       bool   // writes the path
	deployment string // the model's name in the path, where it is not to and not the client's
	to         string // the model's name in the body; empty: it stays
	pattern    string // the entry's name, where deployment or to has a *
	hold       bool   // its answer begins with its first event
}

// cluster is the variant's name among the clusters. What reads it is usage.
func (v variant) cluster() string {
	name := clusterProvider + account(v.provider, v.key)
	if v.hold {
		name += heldMark(v.key)
	}
	if v.path {
		name += "@" + v.deployment
	}
	if v.to != "" {
		name += "=" + v.to
	}
	if v.pattern != "" {
		name += "<" + v.pattern
	}
	return name
}

// variantOf is a target of a route of that shape, with one of its provider's keys.
func variantOf(cfg *config.Config, entry string, target config.Target, key string, s shape) variant {
	v := variant{provider: target.Provider, key: key, path: !s.path, hold: cfg.Models[entry].Holds()}
	switch own := target.OwnName(entry); {
	case target.Translated():
		v.deployment = own
	case !s.name:
		v.to = own
	case v.path && cfg.Providers[target.Provider].Deployments():
		v.deployment = own
	}
	if strings.Contains(v.to+v.deployment, "*") {
		v.pattern = entry
	}
	return v
}

// variants are all that the routes of cfg use, each once, in order; the plain ones of
// each usable provider are always there.
func variants(cfg *config.Config) []variant {
	seen := map[string]variant{}
	add := func(v variant) { seen[v.cluster()] = v }
	for _, name := range usable(cfg) {
		if cfg.Providers[name].Translated() {
			continue // nothing can be asked of it without a model
		}
		for _, c := range cfg.Providers[name].Credentials() {
			add(variant{provider: name, key: c.Place})
		}
	}
	for _, entry := range names(cfg.Models) {
		route := cfg.Models[entry].UsableRoute(cfg.Providers)
		s := shapeOf(cfg, entry, route)
		for _, target := range slices.Concat(route...) {
			for _, c := range cfg.Providers[target.Provider].Credentials() {
				add(variantOf(cfg, entry, target, c.Place, s))
			}
		}
	}
	all := make([]variant, 0, len(seen))
	for _, name := range names(seen) {
		all = append(all, seen[name])
	}
	return all
}

// member is one that a group's attempts choose from: a target, with one of its
// provider's keys.
type member struct {
	cluster  string
	weight   uint64
	provider string
	model    string // the target's, as configured
	key      string // which of the provider's keys, config.Credential.Place
}

// mostWeight keeps the sum of a group's weights within 32 bits.
const mostWeight = 1 << 30

// members are the groups of a route with each key of a provider standing apart. The
// target's weight is shared out among them. A provider's keys do not stand side by
// side if others are in the group: what fails for one key may be the provider's fault,
// and the next attempt is for the member beside it. A target of weight 0 is out.
func members(cfg *config.Config, entry string, route [][]config.Target) [][]member {
	s := shapeOf(cfg, entry, route)
	all := make([][]member, 0, len(route))
	for _, targets := range route {
		targets = slices.DeleteFunc(slices.Clone(targets), func(t config.Target) bool { return t.Share() == 0 })
		common := uint64(1)
		for _, t := range targets {
			common = leastCommon(common, total(cfg.Providers[t.Provider].Credentials()))
		}
		var group []member
		for round := 0; ; round++ {
			before := len(group)
			for _, t := range targets {
				credentials := cfg.Providers[t.Provider].Credentials()
				if round >= len(credentials) {
					continue
				}
				c := credentials[round]
				group = append(group, member{
					cluster: variantOf(cfg, entry, t, c.Place, s).cluster(),
					//nolint:gosec // validated: not negative, and at most 1e6 and 1e3
					weight:   max(1, uint64(t.Share())*uint64(c.Weight)*common/total(credentials)),
					provider: t.Provider,
					model:    t.Model,
					key:      c.Place,
				})
			}
			if len(group) == before {
				break
			}
		}
		all = append(all, bounded(group))
	}
	return all
}

// bounded is the group with its weights made smaller, where their sum is too large.
func bounded(group []member) []member {
	var sum uint64
	for _, m := range group {
		sum += m.weight
	}
	if sum <= mostWeight {
		return group
	}
	scale := float64(mostWeight) / float64(sum)
	for i := range group {
		group[i].weight = max(1, uint64(float64(group[i].weight)*scale))
	}
	return group
}

func total(credentials []config.Credential) uint64 {
	var sum uint64
	for _, c := range credentials {
		sum += uint64(c.Weight) //nolint:gosec // validated: not negative
	}
	return sum
}

// finest is the most parts that a target's weight is cut into. Where the keys' weights
// ask for more, their shares are right to a millionth.
const finest = 1_000_000

// leastCommon is the least common multiple of a and b, or finest if that is less.
func leastCommon(a, b uint64) uint64 {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return min(a/x*b, finest)
}
