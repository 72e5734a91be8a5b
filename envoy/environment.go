package envoy

import (
	"slices"
	"strings"
)

// inherited are the variables that Envoy has from us. It needs no others, and ours may
// hold providers' keys.
var inherited = []string{
	"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LD_LIBRARY_PATH", "GLIBC_TUNABLES", "MALLOC_CONF", "TCMALLOC_SAMPLE_PARAMETER",
}

// inheritedFamilies are whole families of them: with those of AWS it finds the
// credentials that it signs requests with, by AWS's default chain.
var inheritedFamilies = []string{"AWS_", "LC_"}

// environment is what Envoy gets of our own environment.
func environment(own []string) []string {
	all := make([]string, 0, len(inherited))
	for _, variable := range own {
		name, _, _ := strings.Cut(variable, "=")
		family := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if slices.Contains(inherited, name) || slices.ContainsFunc(inheritedFamilies, family) {
			all = append(all, variable)
		}
	}
	return all
}
