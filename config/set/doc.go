// Package set is what lies in AWS Parameter Store: how a document is split into
// parameters and becomes one again, which names they have, and how its weights are
// changed in place.
//
// The invariant: a set is immutable and whole. Its index lists every part with the
// set that holds its text and with the text's hash, so that a set which misses a part,
// or has one that was edited by hand, is refused and the part is named. What is split
// and assembled again has the same version as the document itself.
//
// All of it is pure functions on text; they may be called concurrently.
package set
