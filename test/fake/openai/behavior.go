package openai

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// Behavior is how one request is answered. The zero value is the ordinary answer;
// each field changes one thing about it, and they may be combined.
type Behavior struct {
	// What is said.
	Status  int         // in place of the ordinary status
	Header  http.Header // set over the ordinary headers
	Body    []byte      // in place of the ordinary body, as it is
	Content string      // the model's words, in place of an echo of the prompt and of what it was shown
	Size    int         // bytes of the model's words, by repetition
	Pieces  int         // pieces the words of a stream come in; 0: one a word
	Raw     []byte      // written to the connection in place of an answer, which is then closed

	Reasoning string // said before the words, as reasoning_content; chat alone
	Calls     int    // calls of the first so many tools, when one is called; 0: one
	ToolInput string // the arguments of each call

	// When it is said.
	ReadPause      time.Duration   // between pieces of 16 KiB of the request's body
	IgnoreBody     bool            // answer without reading the body
	FirstByteDelay time.Duration   // before the status line
	EventDelay     time.Duration   // before each event of a stream but the first
	Gate           <-chan struct{} // one value is received before each event but the first; a closed gate is open

	// In what form.
	ByteByByte     bool // each byte, headers too, with a write of its own
	CloseDelimited bool // no length, no chunks: the end of the connection is the end of the answer
	Break          Break
}

// Break says how and where an answer is broken off. With no place given, that is
// right after the headers.
type Break struct {
	How    Ending
	Early  bool // before the status line
	Events int  // after so many events of a stream
	Bytes  int  // after so many bytes of the body
}

// Ending is a way not to finish an answer.
type Ending = stage.Ending

// The endings.
const (
	Finish = stage.Finish // no break at all
	Close  = stage.Close  // close the connection (HTTP/2: reset the stream)
	Reset  = stage.Reset  // reset the connection; with HTTP/2 that may overtake what was written before
	Stall  = stage.Stall  // say no more, until the client goes away or the server is closed
)

// Status answers with a status and an error body in OpenAI's form.
func Status(status int) Behavior {
	kind, code := "invalid_request_error", "fake_error"
	switch {
	case status == http.StatusUnauthorized:
		code = "invalid_api_key"
	case status == http.StatusTooManyRequests:
		kind, code = "requests", "rate_limit_exceeded"
	case status >= 500:
		kind = "server_error"
	}
	body := stage.Encode(object{"error": object{
		"message": fmt.Sprintf("The fake provider was told to answer %d.", status), "type": kind, "param": nil, "code": code,
	}})
	return Behavior{Status: status, Body: body}
}

// RateLimited is a 429 with Retry-After, in whole seconds, rounded up.
func RateLimited(after time.Duration) Behavior {
	b := Status(http.StatusTooManyRequests)
	seconds := int((after + time.Second - 1) / time.Second)
	b.Header = http.Header{"Retry-After": {strconv.Itoa(seconds)}}
	return b
}

// Redirect is a 307 to another URL.
func Redirect(to string) Behavior {
	return Behavior{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {to}}, Body: []byte("{}")}
}

// Garbage sends bytes that are not HTTP.
func Garbage() Behavior { return Behavior{Raw: stage.Nonsense} }

// GarbageJSON is a 200 whose body is JSON broken off in the middle, with a
// content-length that agrees with it.
func GarbageJSON() Behavior {
	return Behavior{Body: []byte(`{"id":"chatcmpl-fake","object":"chat.completion","choices":[{"index":0,"mess`)}
}

// HugeHeaders adds n bytes of headers in lines of at most 4 KiB.
func HugeHeaders(n int) Behavior {
	header := http.Header{}
	for i := 0; n > 0; i++ {
		size := min(n, 4096)
		header.Set(fmt.Sprintf("X-Huge-%d", i), strings.Repeat("h", size))
		n -= size
	}
	return Behavior{Header: header}
}

// BreakOff ends the answer right after its headers.
func BreakOff(how Ending) Behavior { return Behavior{Break: Break{How: how}} }

// NoAnswer ends the connection, or stalls, before the status line.
func NoAnswer(how Ending) Behavior { return Behavior{Break: Break{How: how, Early: true}} }

// CutStream breaks a stream off after a number of its events.
func CutStream(how Ending, events int) Behavior {
	return Behavior{Break: Break{How: how, Events: events}}
}

// Named is the behaviour of a word, for clients in other processes: three digits
// are a status; "close", "reset", "silence" come before the status line, "stall"
// after the headers, "cut" after two events; then "garbage", "garbage-json",
// "bytes", "close-delimited", "huge-headers" (60 KiB), "big" (5 MiB), "slow" (a
// second before the first byte, 100 ms before each event).
func Named(word string) (Behavior, bool) {
	if status, err := strconv.Atoi(word); err == nil {
		return Status(status), status >= 200 && status <= 599
	}
	switch word {
	case "close":
		return NoAnswer(Close), true
	case "reset":
		return NoAnswer(Reset), true
	case "silence":
		return NoAnswer(Stall), true
	case "stall":
		return BreakOff(Stall), true
	case "cut":
		return CutStream(Close, 2), true
	case "garbage":
		return Garbage(), true
	case "garbage-json":
		return GarbageJSON(), true
	case "bytes":
		return Behavior{ByteByByte: true}, true
	case "close-delimited":
		return Behavior{CloseDelimited: true}, true
	case "huge-headers":
		return HugeHeaders(60 << 10), true
	case "big":
		return Behavior{Size: 5 << 20}, true
	case "slow":
		return Behavior{FirstByteDelay: time.Second, EventDelay: 100 * time.Millisecond}, true
	}
	return Behavior{}, false
}
