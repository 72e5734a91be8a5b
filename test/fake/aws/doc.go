// Package aws is an AWS for tests: moto's server, a real emulator, behind a small
// proxy that does what AWS does on bad days: throttling, denial, latency, connections
// cut before or after the work is done, nobody at home. The proxy also holds values to
// the sizes and forms that Parameter Store takes, which the emulator does not.
//
// The invariant: one emulator serves all tests of a process, is stopped by Stop, and
// never outlives the process. Tests keep apart by names of their own.
//
// A Server may be used from several goroutines.
package aws
