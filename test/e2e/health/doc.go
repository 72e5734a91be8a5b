// Package health tests by a whole gate and several providers that the order of a route's
// groups follows from what is known of them: their health, their prices, how fast they
// answer.
//
// The invariant that it holds: a provider that fails loses its place within two seconds
// and gets it back soon after it works, no client sees an error of it as long as another
// group works, and nothing that runs is cut by a change of order.
package health
