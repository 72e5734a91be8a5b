// Package matrix is every kind of provider behind every other, with every way in which the
// first may fail: the routes to configure, a client to ask them, and what the second
// provider may be sent.
//
// The invariant: the two providers of a pair are nobody else's, so that their clusters
// have no connection before the first request, and one pair's failures say nothing of
// another's. A Caller is for one goroutine; all else may be used from several.
package matrix

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Refused is the failure of an address on which nobody listens.
const Refused = "refused"

// Kind is a form that a provider has: what its entry says, and what its target does.
// {{url}} is where it listens, {{role}} is first or second, {{ROLE}} is FIRST or SECOND,
// {{region}} its role's.
type Kind struct {
	Provider, Target string

	// What a request in OpenAI's format is to have as the second.
	Credential string // the header of its secret; "" is authorization
	Asked      string // path and query; "" is Path
	Model      string // "" is the name that the client asked for
}

// Matrix is the kinds and failures, and where the providers are.
type Matrix struct {
	Kinds     map[string]Kind
	Failures  []string
	FirstByte string                         // timeouts.first_byte of the models
	URL       func(role, kind string) string // of a role's provider that is there
	Dead      string                         // URL of the one that is not
	Regions   map[string]string              // by role
}

// Pair is one cell of a matrix.
type Pair struct{ First, Second, Failure string }

func (p Pair) String() string { return p.First + "-" + p.Second + "-" + p.Failure }

// Pairs are all cells.
func (m *Matrix) Pairs() []Pair {
	kinds := slices.Sorted(maps.Keys(m.Kinds))
	var all []Pair
	for _, first := range kinds {
		for _, second := range kinds {
			for _, failure := range m.Failures {
				all = append(all, Pair{first, second, failure})
			}
		}
	}
	return all
}

// Config is the sections of providers and models. The model both-PAIR has the pair's two
// providers, one after the other, and only-PAIR has the second.
func (m *Matrix) Config() string {
	var providers, models strings.Builder
	for _, p := range m.Pairs() {
		one, two := m.target(&providers, p, "first", p.First), m.target(&providers, p, "second", p.Second)
		fmt.Fprintf(&models, "  both-%s: {route: [%s, %s], timeouts: {first_byte: %s}}\n", p, one, two, m.FirstByte)
		fmt.Fprintf(&models, "  only-%s: {route: [%s], timeouts: {first_byte: %s}}\n", p, two, m.FirstByte)
	}
	return "providers:\n" + providers.String() + "models:\n" + models.String()
}

// target writes a provider and gives the part of a route that leads to it.
func (m *Matrix) target(providers *strings.Builder, p Pair, role, kind string) string {
	url := m.URL(role, kind)
	if role == "first" && p.Failure == Refused {
		url = m.Dead
	}
	fill := strings.NewReplacer("{{url}}", url, "{{role}}", role, "{{ROLE}}", strings.ToUpper(role), "{{region}}", m.Regions[role])
	fmt.Fprintf(providers, "  %s-%s: {%s}\n", role, p, fill.Replace(m.Kinds[kind].Provider))
	return fmt.Sprintf("[{provider: %s-%s%s}]", role, p, fill.Replace(m.Kinds[kind].Target))
}

// Secrets are variables for both roles: FIRST_PLAIN=secret-of-first-plain.
func Secrets(names ...string) []string {
	var all []string
	for _, role := range []string{"FIRST", "SECOND"} {
		for _, name := range names {
			all = append(all, role+"_"+name+"=secret-of-"+strings.ToLower(role+"-"+name))
		}
	}
	return all
}

// atOnce is how many cells are tried at a time. Most of them wait for a timeout: more
// than the machine has processors, unlike parallel tests.
const atOnce = 24

// Each runs a test for each cell, and returns when all have ended.
func Each[C fmt.Stringer](t *testing.T, cells []C, test func(*testing.T, C)) {
	t.Helper()
	var all sync.WaitGroup
	waiting := make(chan struct{}, atOnce)
	for _, cell := range cells {
		waiting <- struct{}{}
		all.Go(func() {
			defer func() { <-waiting }()
			t.Run(cell.String(), func(t *testing.T) { test(t, cell) })
		})
	}
	all.Wait()
}
