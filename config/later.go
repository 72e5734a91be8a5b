package config

import "reflect"

// later lists the keys that Postern knows of and does not have yet, by the type they
// belong to: they are refused by name, because "unknown key" would send a reader of
// the documentation looking for a typing mistake.
var later = map[reflect.Type][]string{
	reflect.TypeFor[Config](): {"flags"},
	reflect.TypeFor[Model]():  {"cache", "context"},
	reflect.TypeFor[Tier]():   {"tokens", "budget"},
}

// laterValues is the same for the words of a key that takes one of a few.
var laterValues = map[reflect.Type]map[string][]string{
	reflect.TypeFor[Provider](): {"schema": {"anthropic"}},
}
