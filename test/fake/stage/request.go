package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// HeaderLine is one header as it came: order, case and repetition kept.
type HeaderLine struct{ Name, Value string }

// Request is what arrived. It is recorded when its body has been read, or could
// not be read further.
type Request struct {
	Number int       // from 1, in order of arrival
	Time   time.Time // when its head had been read
	Method string
	Target string // as on the request line: path and query, undecoded
	Path   string // decoded
	Query  string // undecoded
	Host   string // the Host header or :authority
	Proto  string // HTTP/1.1, HTTP/2.0
	Header http.Header
	Lines  []HeaderLine // in order and case of arrival; nil for HTTP/2
	Remote string       // host:port
	SNI    string       // the name the TLS client asked for; empty without TLS

	Body      []byte // or its beginning, if the fake keeps no more
	BodyBytes int    // length of the whole
	BodyHash  string // SHA-256 of the whole, hex
	BodyError error  // why the body is not whole; nil if it is
	Unsized   bool   // no content-length was announced
}

// JSON is the value at a gjson path of the body.
func (r Request) JSON(path string) gjson.Result { return gjson.GetBytes(r.Body, path) }

// Values are all values of a header, by the lines where there are any.
func (r Request) Values(name string) []string {
	if r.Lines == nil {
		return r.Header.Values(name)
	}
	var values []string
	for _, line := range r.Lines {
		if strings.EqualFold(line.Name, name) {
			values = append(values, line.Value)
		}
	}
	return values
}

// observe is what is known of a request before its body was read.
func observe(r *http.Request, number int) Request {
	seen := Request{
		Number: number, Time: time.Now(), Method: r.Method, Target: r.RequestURI,
		Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host, Proto: r.Proto,
		Header: r.Header.Clone(), Remote: r.RemoteAddr, Unsized: r.ContentLength < 0,
	}
	c := connOf(r.Context())
	if e, ok := c.(*ear); ok {
		seen.Lines = e.take(r)
	}
	if state := stateOf(c); state != nil {
		seen.SNI = state.ServerName
	}
	return seen.with(nil)
}

// with is the request with what is known of its body.
func (r Request) with(body []byte) Request {
	sum := sha256.Sum256(body)
	r.Body, r.BodyBytes, r.BodyHash = body, len(body), hex.EncodeToString(sum[:])
	return r
}
