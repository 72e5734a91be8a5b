// Package usage holds end-to-end tests of what Postern knows of requests afterwards:
// records, tokens, costs, metrics, and what was lost on the way.
//
// The invariant: what a provider counted is the truth, and the tests compare with it.
// Each test has a gate of its own.
package usage
