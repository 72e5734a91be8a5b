// Package parameters tries a configuration in AWS Parameter Store as operators live
// with it: the binary's commands, a gate with a real Envoy that follows the pointer, an
// emulator of AWS behind a proxy that can fail as AWS does.
//
// The invariant: every test has an environment, a gate and providers of its own, and
// leaves no process behind.
//
// Tests run one after the other: a gate, an Envoy and an emulator are enough for a
// small machine.
package parameters
