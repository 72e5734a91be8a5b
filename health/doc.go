// Package health is the state of the world that the order of providers follows from:
// which provider and model answers, how fast, at what price, and what comes first then.
// It is told of attempts (Tracker.Observe), asks providers that nobody used lately
// (Prober), and gives the order of each route's groups when it changes (Keeper).
//
// The invariant: what is kept is bounded by the configuration, not by what clients
// ask for; clients' mistakes and departures are no evidence against a provider; an
// order is always a permutation of a route's usable groups, so that the last hope is
// tried even if everything is down. No error, metric or view here holds a word that a
// provider wrote, or a credential: causes are words of the closed set Class.
//
// Tracker and Collector are safe for concurrent use. Order and Judge are pure. A Keeper
// and a Prober each run once.
package health
