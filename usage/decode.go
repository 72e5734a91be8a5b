package usage

import (
	"bytes"
	"hash/maphash"
	"math"
	"strings"
	"time"

	"github.com/postern-proxy/postern/wire"
)

// Where things stand in an entry's metadata, and the header and the tag of the
// configuration version.
const (
	MetadataUsage   = "postern.usage"      // what the provider said: raw, its usage object as it was; or the numbers by name
	MetadataRequest = wire.MetadataRequest // model, lane: what was read of the request
	metadataKeys    = "envoy.filters.http.jwt_authn"
	claims          = "jwt"
	headerConfig    = wire.HeaderConfig
	headerType      = "content-type"
	headerRetry     = "retry-after"
	headerRefused   = "x-amzn-errortype"
)

// Decoder turns entries of Envoy's access log into requests and attempts. Every value
// in an entry may be missing, wrong or hostile; none makes it fail.
type Decoder struct {
	// Each is asked for the configuration version that routed the request; an empty one
	// is not known.

	// Name is the provider's name for the model where the cluster does not say it:
	// all providers of the entry share one. Empty, or nil: the name asked.
	Name func(version, entry, asked string) string
	// Understood says that the bodies of an entry's requests are read for more than
	// the model's name. nil: nothing is known of lanes that leave no trace.
	Understood func(version, entry string) bool
	// Prices are the version's; nil: none is known.
	Prices func(version string) Prices
}

// request reads the entry of a finished request into r, which is empty. Its attempts
// are not in it, and its tokens and cost are not decided yet.
func (d *Decoder) request(e *entry, m *memos, r *Request) {
	r.ID, r.peer = e.requestID(), peerHash(e.peer)
	r.Time = e.began
	r.Endpoint = endpointOf(firstOf(e.form, e.original, e.path))
	r.Status = e.httpStatus()
	r.Flags = flagText(e.flags)
	r.Details = m.name(e.details, maxDetails)
	r.Aborted = left(e.flags)
	r.Tried = int(min(e.attempts, maxAttempts))
	r.FirstByte = e.times[firstAnswered]
	r.Duration = e.duration()
	r.BytesIn = size(e.in)
	r.BytesOut = size(e.out)
	r.Config = m.name(e.config, maxID)
	r.Stream = isStream(e.media)
	r.Route, r.Entry = strings.CutPrefix(m.name(e.route, maxName), modelRoute)
	e.metadata(m, r)
	aimed := m.target(e.cluster)
	r.Provider, r.Model = aimed.provider, fill(aimed.model, aimed.pattern, r.Asked)
	r.sent = e.sent()
	d.name(r)
	switch {
	case d.Understood == nil || !r.Entry:
	case d.Understood(r.Config, r.Route):
		r.Lane = Understood
	case r.Lane == "":
		r.Lane = Native
	}
	r.Blame = blame(r.Status, r.Details, e.flags, r.Provider != "")
	if failed := e.said.failed.word(); r.Blame == Nobody && len(failed) > 0 {
		r.Blame = brokenOff(string(failed)) // its answer began with a 200 and then said that it failed
	}
	r.Reason = reasonOf(r)
	r.last = []Attempt{{}}
	e.lastAttempt(m, r, aimed, &r.last[0])
}

// lastAttempt is what a request's entry tells of its last attempt: enough, where that
// one did not fail.
func (e *entry) lastAttempt(m *memos, r *Request, aimed aim, a *Attempt) {
	begun := e.times[firstSent]
	*a = Attempt{
		RequestID: r.ID, Time: r.Time.Add(begun), Provider: r.Provider, Account: aimed.account, Model: r.Model, Target: aimed.model, Implied: true,
		Status: r.Status, Flags: r.Flags, Details: r.Details, Blame: r.Blame, Aborted: r.Aborted,
		Duration: max(0, e.times[lastGot]-begun),
		BytesIn:  r.BytesOut, BytesOut: r.BytesIn, found: r.found, Nowhere: e.sink,
		Failed: m.name(e.said.failed.word(), maxID),
	}
	if r.Entry {
		a.Route = r.Route
	}
	if answered := e.times[firstGot]; answered > 0 {
		a.FirstByte = max(1, answered-begun)
	}
	if a.Duration == 0 { // it never ended: it ran until the request did
		a.Duration = max(0, r.Duration-begun)
	}
}

// metadata reads who asked, what was read of the request and what the provider said.
func (e *entry) metadata(m *memos, r *Request) {
	r.Tenant = m.name(e.tenant, maxName)
	r.Key = m.name(e.key, maxName)
	r.User = m.name(e.user, maxName)
	r.Tier = m.name(e.tier, maxName)
	r.Asked = m.name(e.asked, maxName)
	if string(e.askedLane) == string(Found) {
		r.Lane = Found
	}
	r.found = e.said.found()
}

// name fills in the model's names where the entry leaves them open.
func (d *Decoder) name(r *Request) {
	if r.Asked == "" && r.Entry && !strings.HasSuffix(r.Route, "*") {
		r.Asked = r.Route
	}
	if r.Provider == "" || r.Model != "" {
		return
	}
	if d.Name != nil && r.Entry {
		r.Model = clean(d.Name(r.Config, r.Route, r.Asked), maxName)
	}
	if r.Model == "" {
		r.Model = r.Asked
	}
}

// attempt reads the entry of one attempt.
func (d *Decoder) attempt(e *entry, m *memos) Attempt {
	a := Attempt{
		RequestID: e.requestID(),
		peer:      peerHash(e.peer),
		Time:      e.began,
		Status:    e.httpStatus(),
		Flags:     flagText(e.flags),
		Details:   m.name(e.details, maxDetails),
		Aborted:   left(e.flags),
		FirstByte: e.times[firstGot],
		Duration:  e.duration(),
		// In an attempt's entry Envoy takes the provider for the client: what was
		// received is the answer.
		BytesIn:  size(e.in),
		BytesOut: size(e.out),
		Nowhere:  e.sink,
		number:   uint32(min(e.attempts, math.MaxUint32)),
		found:    e.said.found(),

		RetryAfter: m.name(e.retry, maxID),
		Refused:    m.name(e.refused, maxID),
	}
	details := a.Details
	if details == "" && a.Status != 0 {
		details = viaUpstream // an attempt's entry has details only of what went wrong
	}
	if a.Status == 0 && a.Details == "" { // of a connection that failed, this alone says how
		a.Details = m.name(e.failure, maxDetails)
	}
	if route, isEntry := strings.CutPrefix(m.name(e.route, maxName), modelRoute); isEntry {
		a.Route = route
	}
	aimed := m.target(e.cluster)
	a.Provider, a.Account, a.Model, a.pattern = aimed.provider, aimed.account, aimed.model, aimed.pattern
	a.Target = a.Model
	a.Blame = blame(a.Status, details, e.flags, true)
	if a.Blame == Client && Throttled(a.Refused) {
		a.Blame = Provider
	}
	if a.Open = a.Flags == "" && a.Status < 400 && !e.upstream; a.Open {
		a.Blame = Nobody
	}
	return a
}

// Finish decides what depends on all of a request's entries: names of the models,
// tokens and cost.
func (d *Decoder) Finish(r *Request) {
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if a.Model = fill(a.Model, a.pattern, r.Asked); a.Model == "" {
			a.Model = r.Model
		}
	}
	if n := len(r.Attempts); n > 0 && r.Attempts[n-1].Open {
		last := &r.Attempts[n-1]
		last.Aborted, last.Blame, last.Open = r.Aborted, r.Blame, false
	}
	said := r.found
	// A filter that reads the answer for one attempt notes it with that attempt.
	if n := len(r.Attempts); !said.any() && n > 0 {
		said = r.Attempts[n-1].found
	}
	r.Tokens = count(r, said)
	var prices Prices
	if d.Prices != nil {
		prices = d.Prices(r.Config)
	}
	r.Cost = cost(prices, r)
}

// sent says that some of the request went out to the provider that was asked last: one
// whose connection failed, or that had no address left, has done nothing.
func (e *entry) sent() bool {
	return e.times[firstSent] > 0 || e.times[firstGot] > 0 || e.upstream || string(e.details) == viaUpstream
}

// requestID is what both kinds of entry have in common. Each is another one.
func (e *entry) requestID() string { return clean(string(firstOf(e.id, e.stream)), maxID) }

// peerHash is an address in eight bytes, for one process; 0 is none.
func peerHash(address []byte) uint64 {
	if len(address) == 0 {
		return 0
	}
	return maphash.Bytes(peerSeed, address)
}

var peerSeed = maphash.MakeSeed()

// duration is the whole one: what Envoy says, or else the last byte's time.
func (e *entry) duration() time.Duration {
	if e.total {
		return e.times[whole]
	}
	return max(e.times[lastAnswered], e.times[lastGot])
}

// httpStatus is the answer's; 0 if there was none or it is no HTTP status.
func (e *entry) httpStatus() int {
	if e.status >= 100 && e.status <= 599 {
		return int(e.status)
	}
	return 0
}

func isStream(media []byte) bool {
	const stream = "text/event-stream"
	return len(media) >= len(stream) && bytes.EqualFold(media[:len(stream)], []byte(stream))
}

func firstOf(texts ...[]byte) []byte {
	for _, candidate := range texts {
		if len(candidate) > 0 {
			return candidate
		}
	}
	return nil
}

func first(texts ...string) string {
	for _, candidate := range texts {
		if candidate != "" {
			return candidate
		}
	}
	return ""
}
