// Package hold is the filter that holds an answer's headers back until the answer has
// begun: a WebAssembly module of less than a kilobyte that Envoy runs in the chain of an
// attempt. Envoy has no filter of its own for it, and a filter that asks Go costs a
// stream for each attempt and a message for each event (docs/adr/0009).
//
// What it does: headers of an answer with a status of 2xx go no further until a line
// that begins with "data:" has come whole, where the answer is a stream of events that
// is not compressed; else until the first byte. Comments, with which some providers keep
// a connection alive, are not the beginning of anything. At Most bytes it lets go in any
// case. A stream that ends before it began is no answer either: its status becomes 502, so
// that the next group is tried. An answer with another status is not held. No byte of a
// body is changed.
//
// The invariant: the module never keeps what it has not been asked to, and fails open.
// It has one entry for each held answer in a table that it shares with nobody (a worker of
// Envoy has a module of its own); an entry that another answer took over is an answer
// let go early.
//
// The package has no state. module.go is the program, assemble.go makes bytes of it.
package hold
