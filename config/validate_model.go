package config

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The bounds of a route: what Envoy has to hold grows with both.
const (
	maxGroups  = 16
	maxTargets = 16
)

// What orders a route's groups: the document, what they cost, or how fast they answer.
const (
	PreferOrder   = "order"
	PreferCost    = "cost"
	PreferLatency = "latency"
)

func (v *validator) models() {
	if at := path("models"); len(v.config.Models) == 0 && !v.broken(at) {
		v.problemf(at, "needs at least one model")
	}
	for _, name := range slices.Sorted(maps.Keys(v.config.Models)) {
		at := path("models").key(name)
		if v.unread[at] {
			continue // not a mapping: nothing in it was read
		}
		v.modelName(at, name)
		m := v.config.Models[name]
		if m.Prefer == "" {
			m.Prefer = PreferOrder
		}
		if at := at.key("route"); !v.unread[at] {
			v.route(at, m.Route)
			v.targetModels(at, name, m.Route)
			v.deployments(at, name, m.Route)
			v.translatedTargets(at, m.Route)
			v.memberCount(at, m.Route)
		}
		v.sticky(at.key("sticky"), m.Sticky)
		v.hold(at.key("hold"), m.Hold)
		v.understanding(at, m)
		v.timeouts(at.key("timeouts"), &m.Timeouts)
	}
}

func (v *validator) modelName(at path, name string) {
	invisible := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case name == "":
		v.problemf(at, "a model needs a name")
	case len(name) > 256:
		v.problemf(at, "a model's name has at most 256 bytes")
	case strings.TrimSpace(name) != name:
		v.problemf(at, "a model's name cannot begin or end with a space")
	case strings.ContainsFunc(name, invisible):
		v.problemf(at, "a model's name cannot have invisible characters")
	case strings.Contains(strings.TrimSuffix(name, "*"), "*"):
		v.problemf(at, "a model's name can have one *, at its end")
	}
}

func (v *validator) route(at path, route [][]Target) {
	switch {
	case len(route) == 0:
		v.problemf(at, "is empty: a route needs a group of targets, such as [[{provider: openai}]]")
	case len(route) > maxGroups:
		v.problemf(at, "has more than %d groups", maxGroups)
	}
	for i, group := range route {
		if at := at.at(i); !v.unread[at] {
			v.group(at, group)
		}
	}
}

func (v *validator) group(at path, group []Target) {
	switch {
	case len(group) == 0:
		v.problemf(at, "the group is empty: give it a target, or remove it")
	case len(group) > maxTargets:
		v.problemf(at, "has more than %d targets", maxTargets)
	}
	total, seen := 0, map[[2]string]bool{}
	for i := range group {
		target, at := &group[i], at.at(i)
		if target.Weight == nil {
			one := 1
			target.Weight = &one
		}
		total += max(*target.Weight, 0)
		if at := at.key("weight"); !v.broken(at) && (*target.Weight < 0 || *target.Weight > maxWeight) {
			v.problemf(at, "must be from 0 to %d", maxWeight)
		}
		if at := at.key("provider"); v.given(at) && !v.broken(at) && v.exists(at, target.Provider) {
			same := [2]string{target.Provider, target.Model}
			if seen[same] {
				v.problemf(at, "%s stands in this group already", v.quote(at))
			}
			seen[same] = true
		}
	}
	if len(group) > 0 && total == 0 && !v.broken(at) {
		v.problemf(at, "all weights are 0: nothing would be sent here")
	}
}

// targetModels judges the names that targets have for the model.
func (v *validator) targetModels(of path, entry string, route [][]Target) {
	for i, group := range route {
		for j, target := range group {
			at := of.at(i).at(j).key("model")
			switch {
			case v.broken(at) || target.Model == "":
			case len(target.Model) > 256 || strings.ContainsFunc(target.Model, func(r rune) bool { return !unicode.IsPrint(r) }):
				v.problemf(at, "a model's name has at most 256 bytes and no invisible characters")
			case strings.Count(target.Model, "*") > 1:
				v.problemf(at, "a target's model can have one *")
			case strings.Contains(target.Model, "*") && !strings.HasSuffix(entry, "*"):
				v.problemf(at, "a * stands for what the entry's own * matched, and the entry has none")
			}
			v.abilities(of.at(i).at(j), target)
		}
	}
}

// What a target can be without.
const (
	WithoutImages = "images"
	WithoutTools  = "tools"
)

// maxContext is above what any model reads.
const maxContext = 100_000_000

// abilities judges what is said of a target that it cannot do.
func (v *validator) abilities(at path, target Target) {
	for i, word := range target.Without {
		if at := at.key("without").at(i); !v.broken(at) && word != WithoutImages && word != WithoutTools {
			v.problemf(at, "must be %s or %s", WithoutImages, WithoutTools)
		}
	}
	if at := at.key("context"); !v.broken(at) && (target.Context < 0 || target.Context > maxContext) {
		v.problemf(at, "must be a number of tokens, at most %d", maxContext)
	}
}

// maxSystem bounds a text that is sent with every request.
const maxSystem = 64 * KiB

// ValidateStrict is the one way to validate.
const ValidateStrict = "strict"

// understanding judges what has a body read by Go.
func (v *validator) understanding(at path, m *Model) {
	if len(m.System) > int(maxSystem) {
		v.problemf(at.key("system"), "has at most %s", maxSystem)
	}
	if at := at.key("validate"); v.given(at) && !v.broken(at) && m.Validate != ValidateStrict {
		v.problemf(at, "must be %s", ValidateStrict)
	}
}

// maxWeight keeps the sum of a group far from 32 bits.
const maxWeight = 1_000_000

// The defaults of timeouts, and the longest that any can be.
const (
	defaultConnect   = Duration(2 * time.Second)
	defaultFirstByte = Duration(60 * time.Second)
	defaultIdle      = Duration(5 * time.Minute)
	defaultTotal     = Duration(10 * time.Minute)
	maxTimeout       = Duration(24 * time.Hour)
)

func (v *validator) timeout(at path, d Duration) {
	if !v.broken(at) && (d <= 0 || d > maxTimeout) {
		v.problemf(at, "must be more than 0s and at most %s", maxTimeout)
	}
}

// timeouts fills in what is not given so that it agrees with what is: nobody should
// have to write a timeout down because of another one's default.
func (v *validator) timeouts(at path, t *Timeouts) {
	for key, d := range map[string]Duration{"connect": t.Connect, "first_byte": t.FirstByte, "idle": t.Idle, "total": t.Total} {
		if at := at.key(key); v.given(at) {
			v.timeout(at, d)
		}
	}
	if v.broken(at) {
		return
	}
	if t.FirstByte == 0 {
		t.FirstByte = defaultFirstByte
		if t.Idle > 0 {
			t.FirstByte = min(t.FirstByte, t.Idle)
		}
		if t.Total > 0 {
			t.FirstByte = min(t.FirstByte, t.Total)
		}
	}
	if t.Idle == 0 {
		t.Idle = max(defaultIdle, t.FirstByte)
	}
	if t.Total == 0 {
		t.Total = max(defaultTotal, t.FirstByte)
	}
	if t.Idle < t.FirstByte {
		v.problemf(at.key("idle"), "must be at least first_byte, because waiting for the first byte is silence too")
	}
	if t.Total < t.FirstByte {
		v.problemf(at.key("total"), "must be at least first_byte")
	}
}

// connects settles each provider's time to connect. A connection is shared by the
// models that use a provider, so they cannot each have their own.
func (v *validator) connects() {
	settled := map[string]path{} // provider → where its value was given
	for name, p := range v.config.Providers {
		if at := path("providers").key(name).key("connect_timeout"); v.given(at) {
			settled[name] = at
		} else if p.Connect == 0 {
			p.Connect = defaultConnect
		}
	}
	names := slices.Sorted(maps.Keys(v.config.Models))
	for _, name := range names {
		at := path("models").key(name).key("timeouts").key("connect")
		if !v.given(at) || v.broken(at) {
			continue
		}
		for _, provider := range v.config.Models[name].providers() {
			p, known := v.config.Providers[provider]
			other, given := settled[provider]
			switch {
			case !known:
			case !given:
				p.Connect, settled[provider] = v.config.Models[name].Timeouts.Connect, at
			case p.Connect != v.config.Models[name].Timeouts.Connect && !v.broken(other):
				v.problemf(at, "disagrees with %s: the connections to provider %q have one timeout", other, provider)
			}
		}
	}
	v.config.fillConnects()
}

// fillConnects gives the models that say nothing of connecting what their slowest
// provider has.
func (c *Config) fillConnects() {
	for _, m := range c.Models {
		for _, provider := range m.providers() {
			if p := c.Providers[provider]; p != nil {
				m.Timeouts.Connect = max(m.Timeouts.Connect, p.Connect)
			}
		}
	}
}
