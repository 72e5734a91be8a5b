package config

import (
	"net/url"
	"slices"
	"strings"
)

// DefaultTier is the tier of keys that name none; every Config has it.
const DefaultTier = "default"

// BuiltinDemo is the provider inside Postern that answers offline.
const BuiltinDemo = "demo"

// builtinPath is the base path of a provider inside Postern.
const builtinPath = "/v1"

// Warnings are the things that are allowed and yet worth a line in the log: a
// provider or a model that is left out because a secret is missing, a key that
// would travel in the open. They are in the order of the document.
func (c *Config) Warnings() []Problem { return slices.Clone(c.warnings) }

// Files are the absolute or working-folder-relative names of the files that the
// document refers to, sorted. Only Load knows them.
func (c *Config) Files() []string { return slices.Clone(c.files) }

// Position is where a path (see Path) stands in the document, from 1; ok is false
// if the document does not have it.
func (c *Config) Position(path string) (line, column int, ok bool) {
	m, ok := c.marks[path]
	return m.line, m.column, ok
}

// Match finds the model that serves a name: the exact one, or else the longest
// pattern (a name that ends in *) that the name begins with.
func (c *Config) Match(model string) (pattern string, m *Model, ok bool) {
	if m, ok := c.Models[model]; ok && !strings.HasSuffix(model, "*") {
		return model, m, true
	}
	for candidate, its := range c.Models {
		prefix, isPattern := strings.CutSuffix(candidate, "*")
		if isPattern && strings.HasPrefix(model, prefix) && (m == nil || len(candidate) > len(pattern)) {
			pattern, m = candidate, its
		}
	}
	return pattern, m, m != nil
}

// Fallback is the provider of /v1 endpoints that name no model: default_provider,
// or else the first usable provider of the model "*" that has them. ok is false if
// there is none that is usable.
func (c *Config) Fallback() (name string, p *Provider, ok bool) {
	if c.DefaultProvider != "" {
		p = c.Providers[c.DefaultProvider]
		return c.DefaultProvider, p, p != nil && p.Usable()
	}
	if m := c.Models["*"]; m != nil {
		for _, group := range m.UsableRoute(c.Providers) {
			for _, target := range group {
				if p := c.Providers[target.Provider]; p.PlainPaths() {
					return target.Provider, p, true
				}
			}
		}
	}
	return "", nil, false
}

// Usable says that the provider has what it needs to answer.
func (p *Provider) Usable() bool { return len(p.Credentials()) > 0 }

// BasePath is the path of the provider's URL, "/v1" of https://api.openai.com/v1,
// without a slash at its end; empty if the URL has none.
func (p *Provider) BasePath() string {
	if p.Builtin != "" {
		return builtinPath
	}
	if u := p.Endpoint(); u != nil {
		return u.Path
	}
	return ""
}

// Endpoint is the provider's URL; nil for a builtin.
func (p *Provider) Endpoint() *url.URL {
	if p.URL == "" {
		return nil
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil
	}
	return u
}

// Authorities is the content of the file that CA names: PEM certificates. Empty
// means the system's authorities.
func (p *Provider) Authorities() string { return p.authorities }

// Share is the target's weight within its group.
func (t Target) Share() int {
	if t.Weight == nil {
		return 1
	}
	return *t.Weight
}

// UsableRoute is the route without the targets that get no requests, because their
// provider is not usable or their share is 0, and without the groups that have nothing
// left to send to. Groups keep their order.
func (m *Model) UsableRoute(providers map[string]*Provider) [][]Target {
	var route [][]Target
	for _, group := range m.Route {
		var usable []Target
		for _, target := range group {
			if p := providers[target.Provider]; p != nil && p.Usable() && target.Share() > 0 {
				usable = append(usable, target)
			}
		}
		if len(usable) > 0 {
			route = append(route, usable)
		}
	}
	return route
}

// SharedName is the name that every target of a usable route has for the model of
// an entry: empty where all keep the client's. shared is false where they differ, or
// where one has it in a form of its own, so that the name must be written once an
// attempt.
func SharedName(entry string, route [][]Target) (name string, shared bool) {
	first := true
	for _, group := range route {
		for _, target := range group {
			own := target.OwnName(entry)
			if target.translated || !first && own != name {
				return "", false
			}
			name, first = own, false
		}
	}
	return name, true
}

// OwnName is the target's name for the model of an entry; empty where it is the one
// the client gave.
func (t Target) OwnName(entry string) string {
	if t.Model == entry && !t.translated {
		return "" // an exact name, or a pattern for itself
	}
	return t.Model
}

// Understood says that requests for the entry have their bodies read by Go before
// they are routed.
func (m *Model) Understood(entry string, providers map[string]*Provider) bool {
	route := m.UsableRoute(providers)
	name, _ := SharedName(entry, route)
	return Picks(route, providers) || m.System != "" || m.Validate != "" || m.Usage == UsageExact || name != ""
}

// Arranges says that Go gives each request for the entry its own order of groups: because
// not all targets can serve each request, or by its price, where its body is read anyhow.
func (m *Model) Arranges(entry string, providers map[string]*Provider) bool {
	route := m.UsableRoute(providers)
	return Picks(route, providers) || m.Prefer == PreferCost && len(route) > 1 && m.Understood(entry, providers)
}

// providers are the names of the providers of the route, in its order, each once.
func (m *Model) providers() []string {
	var names []string
	for _, group := range m.Route {
		for _, target := range group {
			if !slices.Contains(names, target.Provider) {
				names = append(names, target.Provider)
			}
		}
	}
	return names
}
