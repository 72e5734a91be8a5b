package extproc

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/extproc/provider/bedrock"
	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// attempt is one attempt at a provider of another form, from the beginning of its answer
// to the end. It is read in the filters of the client's side: those of a provider's
// cluster may hold an answer no longer than its connection does, or Envoy 1.40 fails
// where the client reads slowly (docs/adr/0010).
type attempt struct {
	asked  bedrock.Asked
	status int
	header map[string]string
	stream *bedrock.Stream // nil: the answer comes whole
	told   bool            // its tokens
}

// imagesWithin is how long all images of a request may take: less than Envoy waits for
// a message.
const imagesWithin = 8 * time.Second

// translate makes a request in the provider's form, for one attempt. The body is the
// client's at each of them.
func (st *stream) translate(ctx context.Context, text []byte) *pb.ProcessingResponse {
	begun := time.Now()
	call, err := bedrock.Request(bedrock.Input{
		Path: st.value(wire.MetaPath), Body: text, Model: st.model(text),
		Settings: bedrock.Settings{Fields: st.list(wire.MetaFields), Images: st.images(ctx)},
	})
	st.service.observe("bedrock", begun, err)
	if err != nil {
		return st.refuse(err)
	}
	return called(call)
}

// model is the provider's id of the model.
func (st *stream) model(text []byte) string {
	name, pattern := st.value(wire.MetaName), st.value(wire.MetaPattern)
	if pattern == "" {
		return name
	}
	fields, err := body.Scan(text)
	if err != nil {
		return name // what is wrong with the body is said by who reads it next
	}
	return renamed(pattern, name, modelOf(&Request{Body: text, Fields: fields}))
}

// list is a value that is a list.
func (st *stream) list(key string) []string {
	text := st.value(key)
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// images fetches images of the hosts that the operator named; nil where there are none.
// They take room in the budget as bodies do.
func (st *stream) images(ctx context.Context) func(string) ([]byte, error) {
	hosts := st.list(wire.MetaHosts)
	if len(hosts) == 0 {
		return nil
	}
	deadline := time.Now().Add(imagesWithin)
	return func(address string) ([]byte, error) {
		ctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		image, err := st.service.Images.Fetch(ctx, address, hosts)
		if err != nil {
			return nil, err
		}
		if !st.hold(int64(copies) * int64(len(image))) {
			return nil, fault.New("extproc", fault.Unavailable, "")
		}
		return image, nil
	}
}

// responseHeaders decides how the answer comes: a stream in pieces, all else whole.
func (st *stream) responseHeaders(in *pb.HttpHeaders) (*pb.ProcessingResponse, error) {
	if st.value(wire.MetaLane) != wire.LaneAnswer {
		return nil, status.Error(codes.Unimplemented, "extproc: only requests are read here")
	}
	a := &attempt{}
	a.read(in.GetHeaders())
	if a.header[wire.HeaderForm] != wire.FormBedrock { // a provider's of OpenAI's own form, or Envoy's
		st.done = true
		return continueResponse, nil
	}
	asked, err := unpack(st.value(wire.MetaAsked))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "extproc: nobody said what the answer is to be made for")
	}
	a.asked, st.attempt = asked, a
	switch {
	case a.streams():
		a.stream = bedrock.NewStream(a.asked, st.service.now(), st.value(wire.MetaRequest))
		if in.GetEndOfStream() {
			st.done = true
			return a.empty(a.stream.Write(nil, true)), nil
		}
		return pieces(a.foreign()), nil
	case in.GetEndOfStream():
		st.done = true
		return wholeAtHeaders(st.answer(nil), a.foreign()), nil
	}
	if need := int64(copies) * contentLength(a.header); !st.hold(need) {
		return nil, noRoom()
	}
	return together, nil
}

func noRoom() error { return status.Error(codes.ResourceExhausted, "extproc: no room for an answer") }

// ordinary is how many bytes a stream may hold without being counted: more than one does
// that says words as they come, so that it is not ended because others are large.
const ordinary = 256 << 10

// foreign are the names of headers that only the provider's own clients know.
func (a *attempt) foreign() []string {
	all := []string{wire.HeaderForm, "content-encoding"}
	for name := range a.header {
		if strings.HasPrefix(name, "x-amzn-") {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// read keeps what is needed of the headers. Envoy forwards no others.
func (a *attempt) read(headers *core.HeaderMap) {
	a.header = make(map[string]string, len(headers.GetHeaders()))
	for _, h := range headers.GetHeaders() {
		value := h.GetValue()
		if raw := h.GetRawValue(); len(raw) > 0 {
			value = string(raw)
		}
		a.header[h.GetKey()] = value
	}
	for _, digit := range a.header[":status"] {
		a.status = a.status*10 + int(digit-'0')
	}
}

// streams says that the answer is a stream, as was asked.
func (a *attempt) streams() bool {
	kind, _, _ := strings.Cut(a.header["content-type"], ";")
	return a.asked.Operation == bedrock.ConverseStream && a.status == http.StatusOK &&
		strings.EqualFold(strings.TrimSpace(kind), "application/vnd.amazon.eventstream")
}

// responseBody translates a piece of a stream, or a whole answer.
func (st *stream) responseBody(in *pb.HttpBody) (*pb.ProcessingResponse, error) {
	a := st.attempt
	switch {
	case a == nil:
		return nil, status.Error(codes.Unimplemented, "extproc: only requests are read here")
	case a.stream == nil:
		st.done = true
		if need := int64(copies) * int64(len(in.GetBody())); need > st.held && !st.resize(need) {
			return nil, noRoom()
		}
		return whole(st.answer(in.GetBody()), a.foreign()), nil
	}
	st.done = in.GetEndOfStream()
	text := a.stream.Write(in.GetBody(), in.GetEndOfStream())
	if !st.resize(max(0, a.stream.Held()-ordinary)) {
		text = a.stream.Abort(fault.New("extproc", fault.Unavailable, "The gateway holds as much of answers as it can. Try again shortly."))
		st.release()
	}
	out := piece(text)
	if a.stream.Done() && !a.told {
		a.told = true
		used, known := a.stream.Usage()
		out.DynamicMetadata = said(used, known, a.stream.Err())
		st.tell(a.stream.Err(), a.stream.Odd())
	}
	return out, nil
}

// empty is a stream that ended with its headers.
func (a *attempt) empty(text []byte) *pb.ProcessingResponse {
	return wholeAtHeaders(bedrock.Reply{
		Status: http.StatusOK, Header: []bedrock.Header{{Name: "content-type", Value: bedrock.StreamType}},
		Body: text, Err: a.stream.Err(),
	}, a.foreign())
}

// answer translates a whole answer.
func (st *stream) answer(text []byte) bedrock.Reply {
	a, begun := st.attempt, time.Now()
	reply := bedrock.Answer(a.asked, a.status, func(name string) string { return a.header[name] }, text,
		st.service.now(), st.value(wire.MetaRequest))
	st.service.observe("bedrock-answer", begun, reply.Err)
	st.tell(reply.Err, reply.Odd)
	return reply
}

// tell logs what is the operator's matter, or a mistake of ours, and what no client is
// told: at most one a second. What a provider is too busy for, and what is wrong with a
// request, is neither.
func (st *stream) tell(err error, odd string) {
	kind := fault.KindOf(err)
	if err == nil && odd == "" || err != nil && (kind == fault.RateLimited || kind == fault.InvalidRequest) {
		return
	}
	now, last := time.Now().Unix(), st.service.told.Load()
	if now == last || !st.service.told.CompareAndSwap(last, now) {
		return
	}
	st.service.Log.Warn("a provider's answer", "request", st.value(wire.MetaRequest), "model", st.attempt.asked.Model,
		"error", err, "stop_reason", odd)
}
