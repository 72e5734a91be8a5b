package stage

import (
	"net/http"
	"time"
)

// Ending is a way not to finish an answer.
type Ending int

// The endings.
const (
	Finish Ending = iota // no break at all
	Close                // close the connection (HTTP/2: reset the stream)
	Reset                // reset the connection; with HTTP/2 that may overtake what was written before
	Stall                // say no more, until the client goes away or the server is closed
)

// BeforeHead is the place of an ending before the status line.
const BeforeHead = -1

// Performance is one answer, and how it is sent.
type Performance struct {
	Status int
	Header http.Header
	Pieces [][]byte // of the body
	Stream bool     // each piece leaves at once

	Raw            []byte                        // written to the connection in place of all that, which is then closed
	FirstByteDelay time.Duration                 // before the status line
	Pause          func(piece int) time.Duration // before each piece but the first
	Gate           <-chan struct{}               // one value is received before each piece but the first
	ByteByByte     bool                          // each byte of the body with a write of its own ...
	Trickle        bool                          // ... and each of the headers

	How   Ending
	After int // so many pieces; 0: right after the headers; BeforeHead. Never, if there are fewer
}
