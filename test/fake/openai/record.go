package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
)

// remembered is how many requests are kept; the oldest go first.
const remembered = 10_000

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

	Body      []byte // cut by WithBodiesUpTo
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

// Said is what an answer says, or would if nothing broke it off.
type Said struct {
	Status int
	Usage  gjson.Result // its usage object, the last one of a stream; it does not exist if there is none
}

// said reads an answer as a provider knows it.
func (a answer) said() Said {
	s := Said{Status: a.status, Usage: gjson.GetBytes(a.body, "usage")}
	for _, event := range a.events {
		_, data, _ := strings.Cut(string(event), "data: ")
		for _, path := range []string{"usage", "response.usage"} {
			if usage := gjson.Get(data, path); usage.IsObject() {
				s.Usage = usage
			}
		}
	}
	return s
}

// Counts is what happened since the start, or since Reset.
type Counts struct {
	Connections int // accepted, greeted or not
	Requests    int // whose head arrived
	Active      int // being answered now; Reset leaves it alone
	Answered    int // to the end
	Broken      int // broken off because a Behavior said so
	Aborted     int // the client went away, before its body or our answer was through
}

type record struct {
	mu       sync.Mutex
	requests []Request
	counts   Counts
	number   int
	accepted int // by the door when Reset was called
}

func (s *Server) observe(r *http.Request) Request {
	seen := Request{
		Number: s.record.begin(), Time: time.Now(), Method: r.Method, Target: r.RequestURI,
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
	return seen
}

// digest fills in what is known of the body, and cuts what is kept of it.
func (r Request) digest(body []byte, keep int) Request {
	sum := sha256.Sum256(body)
	r.Body, r.BodyBytes, r.BodyHash = body, len(body), hex.EncodeToString(sum[:])
	if keep > 0 && len(body) > keep {
		r.Body = slices.Clone(body[:keep])
	}
	return r
}

func (c *record) begin() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	c.counts.Requests++
	c.counts.Active++
	return c.number
}

func (c *record) keep(r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.requests) == remembered {
		c.requests = slices.Delete(c.requests, 0, 1)
	}
	c.requests = append(c.requests, r)
}

func (c *record) end(how outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Active--
	switch how {
	case answered:
		c.counts.Answered++
	case broken:
		c.counts.Broken++
	case aborted:
		c.counts.Aborted++
	case stopped: // the server is closing: nobody's doing but ours
	}
}

// Requests are the recorded requests, oldest first. Bodies and headers are shared
// with the record: read them only.
func (s *Server) Requests() []Request {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return slices.Clone(s.record.requests)
}

// Last is the request recorded last; the zero Request if there is none.
func (s *Server) Last() Request {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	if len(s.record.requests) == 0 {
		return Request{}
	}
	return s.record.requests[len(s.record.requests)-1]
}

// Counts gives all counters at one moment.
func (s *Server) Counts() Counts {
	accepted := s.door.count()
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	counts := s.record.counts
	counts.Connections = accepted - s.record.accepted
	return counts
}

// Reset forgets all requests, counters and behaviours, and welcomes connections
// again. It does not end answers under way, nor Refuse.
func (s *Server) Reset() {
	s.script.reset()
	s.Greet(Welcome)
	accepted := s.door.count()
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	s.record.requests = nil
	s.record.counts = Counts{Active: s.record.counts.Active}
	s.record.accepted = accepted
}
