package config

import (
	"maps"
	"slices"
	"strings"
)

// DefaultView is the view of the clusters that have none of their own. Without an
// entry of that name it is the whole configuration.
const DefaultView = "default"

// defaultServices is where a host of the fleet has the sockets of its services.
const defaultServices = "/run/postern"

// View is the part of the configuration that the Envoys of one cluster of a fleet
// get. Its name is their node.cluster.
type View struct {
	Models   []string   `json:"models,omitempty" yaml:"models,omitempty" jsonschema_description:"Entries of models that this cluster serves: exact, or the beginning of their names with a * behind it. Unset: all. Providers that none of them uses are left out, with their credentials."`
	Listen   ViewListen `json:"listen,omitzero" yaml:"listen,omitempty" jsonschema_description:"Where this cluster listens."`
	Services string     `json:"services,omitempty" yaml:"services,omitempty" jsonschema_description:"Folder on the cluster's hosts with the sockets of postern sidecar; default /run/postern. A change needs a restart of the sidecars."`
	Clients  []string   `json:"clients,omitempty" yaml:"clients,omitempty" jsonschema_description:"Names (DNS, URI, or common name) of the certificates that may ask for this view. Unset: every certificate that the fleet's authority signed."`
}

// ViewListen is the door of a cluster of a fleet.
type ViewListen struct {
	Address string `json:"address,omitempty" yaml:"address,omitempty" jsonschema_description:"host:port; default listen.address. A change needs a restart of the cluster's Envoys."`
}

// View is the configuration as the Envoys of a cluster get it, and where their hosts
// have their services. It has the version of the whole.
func (c *Config) View(cluster string) (seen *Config, services string) {
	v := c.viewOf(cluster)
	part := *c
	part.Views = nil
	if v == nil {
		return &part, defaultServices
	}
	part.Listen.Address = v.Listen.Address
	if len(v.Models) > 0 {
		part.narrow(v)
	}
	return &part, v.Services
}

// viewOf is nil where a cluster gets the whole.
func (c *Config) viewOf(cluster string) *View {
	if v := c.Views[cluster]; v != nil {
		return v
	}
	return c.Views[DefaultView]
}

// narrow leaves the models of a view, and the providers that they use. A default
// provider stays only as one of those.
func (c *Config) narrow(v *View) {
	all := c.Models
	c.Models = map[string]*Model{}
	used := map[string]bool{}
	for name, m := range all {
		if !slices.ContainsFunc(v.Models, func(pattern string) bool { return selects(pattern, name) }) {
			continue
		}
		c.Models[name] = m
		for _, provider := range m.providers() {
			used[provider] = true
		}
	}
	c.Providers = maps.Clone(c.Providers)
	maps.DeleteFunc(c.Providers, func(name string, _ *Provider) bool { return !used[name] })
	if !used[c.DefaultProvider] {
		c.DefaultProvider = ""
	}
}

// selects says that a view's pattern means the entry. An entry that is a pattern
// itself is taken by its name: "gpt-*" selects "gpt-4*", and not the other way round.
func selects(pattern, entry string) bool {
	if prefix, open := strings.CutSuffix(pattern, "*"); open {
		return strings.HasPrefix(entry, prefix)
	}
	return pattern == entry
}

// WithDoorsOf is c with the doors of before, because another would cut the streams of
// those who are there: the address of the gate itself, and address and services of each
// cluster that is here, whether its view changed, came or went. Nil: all are. moved says
// that there was a difference.
func (c *Config) WithDoorsOf(before *Config, here func(cluster string) bool) (kept *Config, moved bool) {
	clone := *c
	if moved = c.Listen.Address != before.Listen.Address; moved {
		clone.Listen.Address = before.Listen.Address
	}
	clone.Views = maps.Clone(c.Views)
	clusters := []string{DefaultView} // the first: the others may fall back on it
	for _, views := range []map[string]*View{before.Views, c.Views} {
		clusters = slices.AppendSeq(clusters, maps.Keys(views))
	}
	for _, cluster := range clusters {
		was := before.doorOf(cluster)
		if clone.doorOf(cluster) == was || cluster != DefaultView && here != nil && !here(cluster) {
			continue
		}
		moved = true
		var own View // the whole
		if v := c.viewOf(cluster); v != nil {
			own = *v
		}
		own.Listen.Address, own.Services = was.address, was.services
		if clone.Views == nil {
			clone.Views = map[string]*View{}
		}
		clone.Views[cluster] = &own
	}
	return &clone, moved
}

// door is where the Envoys of a cluster listen, and where they find their services.
type door struct{ address, services string }

func (c *Config) doorOf(cluster string) door {
	if v := c.viewOf(cluster); v != nil {
		return door{v.Listen.Address, v.Services}
	}
	return door{c.Listen.Address, defaultServices}
}
