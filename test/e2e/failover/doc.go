// Package failover tests what happens to a route's requests when its providers fail,
// by a whole gate and several providers at once.
//
// The invariant that it holds: as long as one provider of a route works and no answer
// has begun, no client sees an error; and what has begun and did not end never looks as
// if it had.
package failover
