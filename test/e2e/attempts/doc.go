// Package attempts holds end-to-end tests of what the attempts of one request are sent:
// each provider its own host, path, credential and body, and nothing of the provider
// before it, of the client or of the gate.
//
// The invariant: every test runs a whole gate with a real Envoy. What an attempt is sent
// is held against what the same provider is sent when it is asked first.
package attempts
