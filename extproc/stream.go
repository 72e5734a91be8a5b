package extproc

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// stream is one request on one lane. It belongs to one goroutine.
type stream struct {
	service *Service
	meta    metadata.MD
	held    int64    // bytes taken from the budget
	done    bool     // nothing more is to be said
	plan    *Plan    // LaneUnderstand: of the version that routed it; nil until it is known
	attempt *attempt // LaneBedrock, once its request is made
}

func newStream(s *Service, meta metadata.MD) *stream { return &stream{service: s, meta: meta} }

func (st *stream) close() { st.release() }

// hold takes room for n bytes; false if there is none.
func (st *stream) hold(n int64) bool {
	if !st.service.Budget.take(n) {
		return false
	}
	st.held += n
	return true
}

// resize makes what is held n bytes; false if there is no room for as many more, and then
// it is as it was.
func (st *stream) resize(n int64) bool {
	if n > st.held {
		return st.hold(n - st.held)
	}
	st.service.Budget.give(st.held - n)
	st.held = n
	return true
}

// release gives back all the room that was taken.
func (st *stream) release() {
	st.service.Budget.give(st.held)
	st.held = 0
}

// handle answers one message.
func (st *stream) handle(ctx context.Context, in *pb.ProcessingRequest) (out *pb.ProcessingResponse, err error) {
	defer func() {
		if p := recover(); p != nil {
			st.service.Log.Error("a panic was caught", "lane", st.value(wire.MetaLane), "request", st.value(wire.MetaRequest),
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			out, err = st.refuse(&fault.Error{Op: "extproc", Kind: fault.Internal}), nil
		}
	}()
	switch in.GetRequest().(type) {
	case *pb.ProcessingRequest_RequestHeaders:
		return st.requestHeaders(in.GetRequestHeaders())
	case *pb.ProcessingRequest_RequestBody:
		return st.requestBody(ctx, in.GetRequestBody())
	case *pb.ProcessingRequest_RequestTrailers:
		return continueTrailers, nil
	case *pb.ProcessingRequest_ResponseHeaders:
		return st.responseHeaders(in.GetResponseHeaders())
	case *pb.ProcessingRequest_ResponseBody:
		return st.responseBody(in.GetResponseBody())
	default:
		return nil, status.Error(codes.Unimplemented, "extproc: only requests are read here")
	}
}

// requestHeaders takes the room that the body needs before the body is sent.
func (st *stream) requestHeaders(in *pb.HttpHeaders) (*pb.ProcessingResponse, error) {
	if in.GetEndOfStream() { // no body: nothing to find, nothing to judge
		st.done = true
		return continueHeaders, nil
	}
	st.find() // the body may be long in coming, and its version out of mind by then
	if !st.hold(int64(copies) * st.length()) {
		return st.refuse(fault.New("extproc", fault.Unavailable,
			"The gateway holds as many large requests as it can. Try again shortly.")), nil
	}
	return continueHeaders, nil
}

func (st *stream) requestBody(ctx context.Context, in *pb.HttpBody) (*pb.ProcessingResponse, error) {
	st.done = true
	switch st.value(wire.MetaLane) {
	case wire.LaneFind:
		return found(findModel(in.GetBody())), nil
	case wire.LaneUnderstand:
		return st.understand(ctx, in.GetBody()), nil
	case wire.LaneRename:
		return st.rename(ctx, in.GetBody()), nil
	case wire.LaneBedrock:
		return st.translate(ctx, in.GetBody()), nil
	default:
		return nil, status.Error(codes.InvalidArgument, "extproc: the stream names no lane")
	}
}

// find looks for the plan of a request that is to be understood, unless it was found.
func (st *stream) find() {
	if st.plan == nil && st.value(wire.MetaLane) == wire.LaneUnderstand {
		st.plan = st.service.Plans.Plan(st.value(wire.MetaConfig))
	}
}

// understand runs the stages of the request's entry.
func (st *stream) understand(ctx context.Context, text []byte) *pb.ProcessingResponse {
	if st.find(); st.plan == nil {
		return st.refuse(&fault.Error{Op: "extproc", Kind: fault.Unavailable})
	}
	stages, known := st.plan.Entry(st.value(wire.MetaEntry))
	if !known {
		return st.refuse(&fault.Error{Op: "extproc", Kind: fault.Unavailable})
	}
	fields, err := body.Scan(text)
	if err != nil {
		return st.refuse(&fault.Error{Op: "extproc", Kind: fault.InvalidRequest, Message: sentence(err), Cause: err})
	}
	r := &Request{
		Endpoint: endpointOf(st.value(wire.MetaPath)), Path: st.value(wire.MetaPath), Groups: st.value(wire.MetaGroups), Stands: st.value(wire.MetaStands),
		Body: text, Fields: fields,
	}
	for _, stage := range stages {
		if err := st.service.run(ctx, stage, r); err != nil {
			return st.refuse(err)
		}
	}
	out := replaced(r.edited())
	if r.Strip || r.chosen != nil {
		out = marked(out, r)
	}
	return out
}

// rename writes one target's own name for the model. It runs once an attempt, on
// the body as the client sent it.
func (st *stream) rename(ctx context.Context, text []byte) *pb.ProcessingResponse {
	fields, err := body.Scan(text)
	if err != nil {
		return st.refuse(&fault.Error{Op: "extproc", Kind: fault.InvalidRequest, Message: sentence(err), Cause: err})
	}
	r := &Request{Body: text, Fields: fields}
	stage := Rename{Pattern: st.value(wire.MetaPattern), To: st.value(wire.MetaName)}
	if err := st.service.run(ctx, stage, r); err != nil {
		return st.refuse(err)
	}
	return lengthened(text, r.edited())
}

func (st *stream) refuse(err error) *pb.ProcessingResponse {
	st.done = true
	return refused(err)
}

// length is the body's, as Envoy counted it before it asked; without a count it is
// taken to be as large as a body may be.
func (st *stream) length() int64 {
	n, err := strconv.ParseInt(st.value(wire.MetaLength), 10, 64)
	if err != nil || n < 0 {
		return maxBody
	}
	return n
}

func (st *stream) value(key string) string {
	if values := st.meta[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// sentence makes a scan's reason one for clients: it names no part of the body.
func sentence(err error) string {
	text := err.Error()
	return string(text[0]-'a'+'A') + text[1:] + "."
}
