// Package hold tests models whose answers begin with their first event (hold:
// first_event), by a whole gate and its providers.
//
// The invariant that it holds: a provider that sends headers and then nothing of an
// answer has not answered, whatever the form of the answer was to be; and of an answer
// that does come no byte is changed, and none waits.
package hold
