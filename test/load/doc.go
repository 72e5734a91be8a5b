// Package load measures gateways: closed-loop HTTP/1.1 clients that keep their
// connections, a mock provider cheap enough to stay out of the way, processor time
// and memory by process, and a report of it all as a table and as JSON.
//
// The numbers of one run are comparable with each other and with nothing else.
// That is why the targets of a case take turns, round by round, within one run; why
// what is reported of a round-by-round value is its median with the lowest and the
// highest; and why a ratio is taken between two targets of the same round. Any
// answer that is not whole ends the run: a failed request is quick, and would look
// like speed. So does a request that goes another way than the row it stands in.
//
// A Plan runs in the calling goroutine and returns when all it started has ended.
// An Upstream serves many connections at once; its Close may be called again.
package load
