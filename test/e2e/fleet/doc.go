// Package fleet_test tries one control plane with several real Envoys, as a fleet
// has them: each with its own bootstrap, over mutual TLS, beside its own sidecar.
//
// The invariant: every process that a test started is stopped when it ends.
package fleet_test
