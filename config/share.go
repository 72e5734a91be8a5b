package config

import (
	"encoding/json"
	"errors"
	"fmt"
)

// shared is a version on its way to another process of the same gate.
type shared struct {
	Version string  `json:"version"`
	Config  *Config `json:"config"`
}

// Share is the version as a process needs it that reads bodies and holds no credential:
// JSON, for [Shared]. Providers that are not usable are left out, and of the others what
// is secret; so are the door and the views.
func (c *Config) Share() ([]byte, error) {
	part := *c
	part.Listen, part.Views = Listen{BodyLimit: c.Listen.BodyLimit}, nil
	part.Providers, part.Models = map[string]*Provider{}, map[string]*Model{}
	for name, p := range c.Providers {
		if p.Usable() {
			own := *p
			own.Key, own.Keys, own.CA, own.Headers = Secret{}, nil, "", nil
			part.Providers[name] = &own
		}
	}
	for name, m := range c.Models {
		own := *m
		own.Route = m.UsableRoute(c.Providers)
		part.Models[name] = &own
	}
	text, err := json.Marshal(shared{c.Version, &part})
	if err != nil {
		return nil, fmt.Errorf("config.Share: %w", err)
	}
	return text, nil
}

// Shared reads what Share wrote. Nothing is judged again: it was.
func Shared(text []byte) (*Config, error) {
	var s shared
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("config.Shared: %w", err)
	}
	if s.Config == nil || s.Version == "" {
		return nil, errors.New("config.Shared: there is no configuration in it")
	}
	s.Config.Version = s.Version
	for _, m := range s.Config.Models {
		for _, group := range m.Route {
			for i := range group {
				p := s.Config.Providers[group[i].Provider]
				group[i].translated = p != nil && p.Translated()
			}
		}
	}
	return s.Config, nil
}
