package main

import (
	"sort"
	"strings"

	"github.com/postern-proxy/postern/config"
)

// usableModels are the models a client can ask for by name, in order.
func usableModels(cfg *config.Config) []string {
	var all []string
	for name, m := range cfg.Models {
		if !strings.HasSuffix(name, "*") && len(m.UsableRoute(cfg.Providers)) > 0 {
			all = append(all, name)
		}
	}
	sort.Strings(all)
	return all
}
