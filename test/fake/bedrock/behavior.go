package bedrock

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// Behavior is how one request is answered. The zero value is the ordinary answer;
// each field changes one thing about it, and they may be combined. A request that is
// not signed right is refused before any of what is said.
type Behavior struct {
	// What is said.
	Exception Exception   // in place of the answer, or in its stream
	InStream  bool        // the exception comes in the stream, if there is one ...
	After     int         // ... after so many frames, in place of what is left; AtEnd: after all
	Status    int         // in place of the ordinary status
	Header    http.Header // set over the ordinary headers
	Body      []byte      // in place of the ordinary body, as it is
	Frames    [][]byte    // in place of a stream's ordinary frames; see Frame
	Raw       []byte      // written to the connection in place of an answer, which is then closed

	// What the model says.
	Content    string // its words, in place of an echo of the user's
	Size       int    // bytes of its words, by repetition
	Pieces     int    // pieces the words of a stream come in; 0: one a word
	Empty      bool   // nothing at all: a message without content
	Reasoning  string // a block of reasoning before the words
	ToolInput  string // the input of a tool's call, as it is in a stream; if it is no JSON, a string elsewhere
	Calls      int    // calls of the first so many tools, when one is called; 0: one
	StopReason string // in place of the ordinary
	CacheRead  int    // tokens read from the cache, beside the input's
	CacheWrite int    // tokens written to the cache, beside the input's

	// What is wrong with its frames.
	Omit           []string // kinds of frames not to send: "messageStop", "metadata"
	CorruptMessage int      // the frame with this number, from 1, has a wrong checksum
	CorruptPrelude int      // the frame with this number, from 1, has a wrong checksum of its lengths

	// When and in what form it is said.
	IgnoreBody     bool            // answer without reading the body; then the signature is not checked
	FirstByteDelay time.Duration   // before the status line
	EventDelay     time.Duration   // before each frame of a stream but the first
	MetadataDelay  time.Duration   // before the frame of metadata
	Gate           <-chan struct{} // one value is received before each frame but the first; a closed gate is open
	ByteByByte     bool            // each byte of the body with a write of its own
	Together       bool            // all frames in one write
	Break          Break
}

// AtEnd is after all frames.
const AtEnd = math.MaxInt

// Break says how and where an answer is broken off: before the status line, or after
// so many frames and so many bytes of what follows. With no place given, that is
// right after the headers.
type Break struct {
	How    Ending
	Early  bool
	Frames int
	Bytes  int
}

// Ending is a way not to finish an answer, the same as of package stage.
type Ending = stage.Ending

// The endings.
const (
	Finish = stage.Finish
	Close  = stage.Close
	Reset  = stage.Reset
	Stall  = stage.Stall
)

// Fail answers with an exception in place of an answer, plain or streamed.
func Fail(e Exception) Behavior { return Behavior{Exception: e} }

// FailInStream begins a stream and ends it with an exception after so many frames:
// 0 is at once, AtEnd after all. A plain answer is the exception alone.
func FailInStream(e Exception, frames int) Behavior {
	return Behavior{Exception: e, InStream: true, After: frames}
}

// Throttled is a ThrottlingException with Retry-After, in whole seconds, rounded up.
func Throttled(after time.Duration) Behavior {
	e := Throttling
	seconds := int((after + time.Second - 1) / time.Second)
	e.Header = http.Header{"Retry-After": {strconv.Itoa(seconds)}}
	return Fail(e)
}

// Status answers with a status and a body without a name, as something before the
// service may.
func Status(status int) Behavior {
	return Behavior{Status: status, Body: stage.Encode(object{"message": http.StatusText(status)})}
}

// HTML is a 200 with a page, as a captive portal or a proxy gives.
func HTML() Behavior {
	return Behavior{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/html"}},
		Body: []byte("<!doctype html><html><body><h1>Sign in to the network</h1></body></html>"),
	}
}

// Garbage sends bytes that are not HTTP.
func Garbage() Behavior { return Behavior{Raw: stage.Nonsense} }

// GarbageJSON is a 200 whose body is JSON broken off in the middle, with a
// content-length that agrees with it.
func GarbageJSON() Behavior {
	return Behavior{Body: []byte(`{"metrics":{"latencyMs":7},"output":{"message":{"content":[{"text":"You sa`)}
}

// BreakOff ends the answer right after its headers.
func BreakOff(how Ending) Behavior { return Behavior{Break: Break{How: how}} }

// NoAnswer ends the connection, or stalls, before the status line.
func NoAnswer(how Ending) Behavior { return Behavior{Break: Break{How: how, Early: true}} }

// CutStream breaks a stream off after a number of its frames.
func CutStream(how Ending, frames int) Behavior {
	return Behavior{Break: Break{How: how, Frames: frames}}
}

// CutMidFrame breaks a stream off 20 bytes into the frame after so many: behind the
// lengths, in the headers.
func CutMidFrame(how Ending, frames int) Behavior {
	return Behavior{Break: Break{How: how, Frames: frames, Bytes: 20}}
}
