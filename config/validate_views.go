package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// maxServices is the longest folder of services: a socket's path has room for 107
// bytes, its name included.
const maxServices = 80

func (v *validator) views() {
	for _, name := range slices.Sorted(maps.Keys(v.config.Views)) {
		at := path("views").key(name)
		if v.unread[at] {
			continue
		}
		v.name(at, name)
		one := v.config.Views[name]
		v.viewModels(at.key("models"), one)
		v.viewDoor(at, one)
		v.clients(at.key("clients"), one)
	}
}

// viewModels holds each pattern to select something: one that selects nothing is a
// typing mistake, and a cluster that would serve nothing for it.
func (v *validator) viewModels(at path, one *View) {
	if v.given(at) && !v.broken(at) && len(one.Models) == 0 {
		v.problemf(at, "is empty: name the models that the cluster serves, or remove the key for all")
	}
	for i, pattern := range one.Models {
		at := at.at(i)
		if v.broken(at) || v.unread["models"] {
			continue
		}
		found := false
		for entry := range v.config.Models {
			found = found || selects(pattern, entry)
		}
		if !found {
			known := slices.Sorted(maps.Keys(v.config.Models))
			v.problemf(at, "there is no model %s%s", v.quote(at), closest(v.marks[string(at)].text, known))
		}
	}
}

func (v *validator) viewDoor(at path, one *View) {
	if one.Listen.Address == "" {
		one.Listen.Address = v.config.Listen.Address
	} else if at := at.key("listen").key("address"); !v.broken(at) {
		address, err := normalAddress(one.Listen.Address)
		if err != nil {
			v.problemf(at, "%s", err)
		}
		one.Listen.Address = address
	}
	if one.Services == "" {
		one.Services = defaultServices
	}
	if at := at.key("services"); !v.broken(at) && !v.unread[at] {
		switch {
		case !filepath.IsAbs(one.Services) || filepath.Clean(one.Services) != one.Services:
			v.problemf(at, "must be an absolute path, without a slash at its end")
		case len(one.Services) > maxServices:
			v.problemf(at, "has at most %d bytes: the paths of sockets are short", maxServices)
		}
	}
}

func (v *validator) clients(at path, one *View) {
	if v.given(at) && !v.broken(at) && len(one.Clients) == 0 {
		v.problemf(at, "is empty: nobody could have this view")
	}
	for i, client := range one.Clients {
		if at := at.at(i); !v.broken(at) && (client == "" || strings.ContainsFunc(client, unicode.IsSpace)) {
			v.problemf(at, "must be a name of a certificate, without spaces")
		}
	}
}
