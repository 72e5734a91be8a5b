// Package lifecycle tries how a gate begins, changes and ends: the binary as people
// run it, with a real Envoy, real signals and real files.
//
// The invariant: every test has a gate, a data folder and providers of its own, and
// leaves no process behind. What is waited for is seen (a line printed, a header, a
// process that is gone), never hoped for.
//
// Tests run one after the other: two gates and their Envoys are enough for a small
// machine.
package lifecycle
