// Package stage is what the fake providers play on: the door their clients come in by,
// the record of what was sent, the script of how the next request is to be answered,
// and the sending of an answer, be it whole, late or broken off. What a request means
// and what is said to it is each fake's own.
//
// The invariant: a request whose head arrived is counted when it comes and once more
// when it ends, as what ended it; and when Close returns, no connection is open and
// nothing that the stage started still runs.
//
// All methods of [Stage] and [Script] may be called at the same time. A [Visit] belongs
// to the goroutine that answers it. All else is values and functions of them.
package stage
