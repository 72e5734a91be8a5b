package usage

import (
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"google.golang.org/protobuf/types/known/structpb"

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
)

// Decoder turns entries of Envoy's access log into requests and attempts. Every value
// in an entry may be missing, wrong or hostile; none makes it fail.
type Decoder struct {
	// Name is the provider's name for the model where the cluster does not say it:
	// all providers of the entry share one. Empty, or nil: the name asked.
	Name func(entry, asked string) string
	// Understood says that the bodies of an entry's requests are read for more than
	// the model's name. nil: nothing is known of lanes that leave no trace.
	Understood func(entry string) bool
	// Prices are the current ones; nil: none is known.
	Prices func() Prices
}

// Request reads the entry of a finished request. Its attempts are not in it, and its
// tokens and cost are not decided yet.
func (d *Decoder) Request(e *data.HTTPAccessLogEntry) Request {
	common, response := e.GetCommonProperties(), e.GetResponse()
	r := Request{
		ID:        requestID(e),
		Time:      start(common),
		Endpoint:  endpointOf(first(text(fields(common.GetMetadata(), wire.MetadataForm)[wire.MetadataPath]), path(e.GetRequest()))),
		Status:    status(response),
		Flags:     flagText(common.GetResponseFlags()),
		Details:   clean(response.GetResponseCodeDetails(), maxDetails),
		Aborted:   left(common.GetResponseFlags()),
		Tried:     int(min(common.GetUpstreamRequestAttemptCount(), maxAttempts)),
		FirstByte: span(common.GetTimeToFirstDownstreamTxByte()),
		Duration:  total(common),
		BytesIn:   size(e.GetRequest().GetRequestBodyBytes()),
		BytesOut:  size(response.GetResponseBodyBytes()),
		Config:    clean(first(response.GetResponseHeaders()[headerConfig], common.GetCustomTags()["config"]), maxID),
		Stream:    strings.HasPrefix(strings.ToLower(response.GetResponseHeaders()[headerType]), "text/event-stream"),
	}
	r.Route, r.Entry = strings.CutPrefix(clean(common.GetRouteName(), maxName), modelRoute)
	d.metadata(&r, common)
	provider, model, pattern := target(common.GetUpstreamCluster())
	r.Provider, r.Model = provider, fill(model, pattern, r.Asked)
	d.name(&r)
	switch {
	case d.Understood == nil || !r.Entry:
	case d.Understood(r.Route):
		r.Lane = Understood
	case r.Lane == "":
		r.Lane = Native
	}
	r.Blame = blame(r.Status, r.Details, common.GetResponseFlags(), provider != "")
	if r.Blame == Nobody && text(fields(common.GetMetadata(), MetadataUsage)["failed"]) != "" {
		r.Blame = Provider // its answer began with a 200 and then said that it failed
	}
	r.Reason = reasonOf(&r)
	r.last = lastAttempt(&r, common)
	return r
}

// lastAttempt is what a request's entry tells of its last attempt: enough, where that
// one did not fail.
func lastAttempt(r *Request, common *data.AccessLogCommon) Attempt {
	begun := span(common.GetTimeToFirstUpstreamTxByte())
	a := Attempt{
		RequestID: r.ID, Time: r.Time.Add(begun), Provider: r.Provider, Model: r.Model, Implied: true,
		Status: r.Status, Flags: r.Flags, Details: r.Details, Blame: r.Blame, Aborted: r.Aborted,
		Duration: max(0, span(common.GetTimeToLastUpstreamRxByte())-begun),
		BytesIn:  r.BytesOut, BytesOut: r.BytesIn, found: r.found, Nowhere: nowhere(common),
	}
	if r.Entry {
		a.Route = r.Route
	}
	if answered := span(common.GetTimeToFirstUpstreamRxByte()); answered > 0 {
		a.FirstByte = max(1, answered-begun)
	}
	if a.Duration == 0 { // it never ended: it ran until the request did
		a.Duration = max(0, r.Duration-begun)
	}
	return a
}

// nowhere says that the attempt went to the sink.
func nowhere(common *data.AccessLogCommon) bool {
	at := common.GetUpstreamRemoteAddress().GetSocketAddress()
	return at.GetPortValue() == wire.SinkPort && at.GetAddress() == wire.SinkAddress
}

// metadata reads who asked, what was read of the request and what the provider said.
func (d *Decoder) metadata(r *Request, common *data.AccessLogCommon) {
	tags := common.GetCustomTags()
	key := fields(common.GetMetadata(), metadataKeys)[claims].GetStructValue().GetFields()
	r.Tenant = text(key["tenant"])
	r.Key = text(key["jti"])
	r.User = text(key["sub"])
	r.Tier = text(key["tier"])
	asked := fields(common.GetMetadata(), MetadataRequest)
	r.Asked = first(text(asked["model"]), clean(tags["model"], maxName))
	switch lane := Lane(first(text(asked["lane"]), tags["lane"])); lane {
	case Native, Found, Understood:
		r.Lane = lane
	}
	said := fields(common.GetMetadata(), MetadataUsage)
	r.Answered = text(said["model"])
	r.found = readUsage(said)
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
		r.Model = clean(d.Name(r.Route, r.Asked), maxName)
	}
	if r.Model == "" {
		r.Model = r.Asked
	}
}

// Attempt reads the entry of one attempt.
func (d *Decoder) Attempt(e *data.HTTPAccessLogEntry) Attempt {
	common, response := e.GetCommonProperties(), e.GetResponse()
	a := Attempt{
		RequestID: requestID(e),
		Time:      start(common),
		Status:    status(response),
		Flags:     flagText(common.GetResponseFlags()),
		Details:   clean(response.GetResponseCodeDetails(), maxDetails),
		Aborted:   left(common.GetResponseFlags()),
		FirstByte: span(common.GetTimeToFirstUpstreamRxByte()),
		Duration:  total(common),
		// In an attempt's entry Envoy takes the provider for the client: what was
		// received is the answer.
		BytesIn:  size(e.GetRequest().GetRequestBodyBytes()),
		BytesOut: size(response.GetResponseBodyBytes()),
		number:   common.GetUpstreamRequestAttemptCount(),
		found:    readUsage(fields(common.GetMetadata(), MetadataUsage)),

		RetryAfter: clean(response.GetResponseHeaders()[headerRetry], maxID),
	}
	if a.Status == 0 && a.Details == "" { // of a connection that failed, this alone says how
		a.Details = clean(common.GetUpstreamTransportFailureReason(), maxDetails)
	}
	a.Nowhere = nowhere(common)
	if route, isEntry := strings.CutPrefix(clean(common.GetRouteName(), maxName), modelRoute); isEntry {
		a.Route = route
	}
	a.Provider, a.Model, a.pattern = target(common.GetUpstreamCluster())
	details := clean(response.GetResponseCodeDetails(), maxDetails)
	if details == "" && a.Status != 0 {
		details = viaUpstream // an attempt's entry has details only of what went wrong
	}
	a.Blame = blame(a.Status, details, common.GetResponseFlags(), true)
	if a.Open = a.Flags == "" && a.Status < 400 && common.GetTimeToLastUpstreamRxByte() == nil; a.Open {
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
		prices = d.Prices()
	}
	r.Cost = cost(prices, r)
}

// requestID is what both kinds of entry have in common.
func requestID(e *data.HTTPAccessLogEntry) string {
	return clean(first(e.GetRequest().GetRequestId(), e.GetCommonProperties().GetStreamId()), maxID)
}

// start is when it began; the zero time if the entry does not say it.
func start(common *data.AccessLogCommon) time.Time {
	if stamp := common.GetStartTime(); stamp.IsValid() {
		return stamp.AsTime()
	}
	return time.Time{}
}

// total is the whole duration: what Envoy says, or else the last byte's time.
func total(common *data.AccessLogCommon) time.Duration {
	if d := common.GetDuration(); d != nil {
		return span(d)
	}
	return max(
		span(common.GetTimeToLastDownstreamTxByte()),
		span(common.GetTimeToLastUpstreamRxByte()))
}

// status is the answer's; 0 if there was none or it is no HTTP status.
func status(response *data.HTTPResponseProperties) int {
	if code := response.GetResponseCode().GetValue(); code >= 100 && code <= 599 {
		return int(code)
	}
	return 0
}

// path is the client's where Envoy noted it, else what went upstream.
func path(request *data.HTTPRequestProperties) string {
	return first(request.GetOriginalPath(), request.GetPath())
}

func fields(m *core.Metadata, namespace string) map[string]*structpb.Value {
	return m.GetFilterMetadata()[namespace].GetFields()
}

func first(texts ...string) string {
	for _, candidate := range texts {
		if candidate != "" {
			return candidate
		}
	}
	return ""
}
