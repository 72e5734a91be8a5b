// Package api tries the whole gate from the outside: the binary, a real Envoy, real
// clients, and small real servers in the place of providers.
//
// The invariant: every test says what a client or a provider sees and nothing of how
// the gate does it, so that the same rows hold on each lane. Most tests share one
// gate, which the first of them starts; they leave its configuration as they found
// it and speak to providers whose misbehaviour a request asks for itself.
//
// Tests run one after the other: two gates and their Envoys are enough for a small
// machine.
package api
