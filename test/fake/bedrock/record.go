package bedrock

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-proxy/postern/test/fake/openai"
)

// remembered is how many requests are kept; the oldest go first.
const remembered = 10_000

// Request is what arrived, and what this server made of it. It is recorded when its
// body has been read, or could not be read further. Lines is never filled in.
type Request struct {
	openai.Request

	Model     string    // decoded, as it stands in the path
	Operation string    // "converse", "converse-stream", "invoke"; empty for other paths
	Signature Signature // as claimed; zero if there was none
	Refusal   string    // why an honest service refuses it, "Name: message"; empty if it does not
}

// Counts is what happened since the start, or since Reset.
type Counts = openai.Counts

type record struct {
	mu       sync.Mutex
	requests []Request
	counts   Counts
	number   int
}

func (c *record) connected() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Connections++
}

func (c *record) begin() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	c.counts.Requests++
	c.counts.Active++
	return c.number
}

func (s *Server) observe(r *http.Request) Request {
	seen := openai.Request{
		Number: s.record.begin(), Time: time.Now(), Method: r.Method, Target: r.RequestURI,
		Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host, Proto: r.Proto,
		Header: r.Header.Clone(), Remote: r.RemoteAddr, Unsized: r.ContentLength < 0,
	}
	if r.TLS != nil {
		seen.SNI = r.TLS.ServerName
	}
	request := Request{Request: seen}
	request.Model, request.Operation = place(seen.Target)
	return request
}

// place reads model and operation from a path whose model may be escaped or not,
// slashes of an ARN included.
func place(target string) (model, operation string) {
	path, _, _ := strings.Cut(target, "?")
	rest, ok := strings.CutPrefix(path, "/model/")
	cut := strings.LastIndexByte(rest, '/')
	if !ok || cut < 0 {
		return "", ""
	}
	model, err := url.PathUnescape(rest[:cut])
	if err != nil {
		return "", ""
	}
	return model, rest[cut+1:]
}

// digest fills in what is known of the body.
func (r *Request) digest(body []byte) {
	sum := sha256.Sum256(body)
	r.Body, r.BodyBytes, r.BodyHash = body, len(body), hex.EncodeToString(sum[:])
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
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.record.counts
}

// NoRefusals fails the test for every recorded request an honest service would have
// refused, whatever a behaviour made of it.
func (s *Server) NoRefusals(tb testing.TB) {
	tb.Helper()
	for _, r := range s.Requests() {
		if r.Refusal != "" {
			tb.Errorf("request %d (%s %s) is not one Bedrock takes: %s", r.Number, r.Method, r.Target, r.Refusal)
		}
	}
}

// Reset forgets all requests, counters, behaviours and the clock's error. It does
// not end answers under way, nor Refuse; credentials stay.
func (s *Server) Reset() {
	s.script.reset()
	s.Skew(0)
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	s.record.requests = nil
	s.record.counts = Counts{Active: s.record.counts.Active}
}
