// Package lanes holds end-to-end tests of the lanes on which Go reads a request's
// body: what they change, what they hold in memory, and what happens when the
// service behind them is dead, slow, restarting or wrong.
//
// The invariant: every test runs a whole gate with a real Envoy. Tests do not share
// gates, because they break them.
package lanes
