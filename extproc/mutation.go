package extproc

import (
	"strconv"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// Responses that say only "go on". They are shared and never written to.
var (
	continueHeaders = &pb.ProcessingResponse{Response: &pb.ProcessingResponse_RequestHeaders{
		RequestHeaders: &pb.HeadersResponse{},
	}}
	continueBody = &pb.ProcessingResponse{Response: &pb.ProcessingResponse_RequestBody{
		RequestBody: &pb.BodyResponse{},
	}}
	continueTrailers = &pb.ProcessingResponse{Response: &pb.ProcessingResponse_RequestTrailers{
		RequestTrailers: &pb.TrailersResponse{},
	}}
)

// found puts the model's name into its header and has the route chosen again. An
// empty name changes nothing: the route that waits for one is the answer then.
func found(model string) *pb.ProcessingResponse {
	if model == "" {
		return foundNothing
	}
	out := bodyResponse(&pb.CommonResponse{
		HeaderMutation:  &pb.HeaderMutation{SetHeaders: []*core.HeaderValueOption{header(wire.HeaderModel, model)}},
		ClearRouteCache: true,
	})
	out.DynamicMetadata = foundHere
	return out
}

// foundHere tells the log that the body was read here. It is shared and never written
// to, like foundNothing.
var (
	foundHere = &structpb.Struct{Fields: map[string]*structpb.Value{
		wire.MetadataRequest: structure(map[string]*structpb.Value{wire.MetadataLane: structpb.NewStringValue("found")}),
	}}
	foundNothing = &pb.ProcessingResponse{Response: continueBody.GetResponse(), DynamicMetadata: foundHere}
)

// replaced sends the request on with another body, or as it is where that is nil.
// The length must be set with the body: Envoy answers 500 where they differ.
func replaced(text []byte) *pb.ProcessingResponse {
	if text == nil {
		return continueBody
	}
	return bodyResponse(&pb.CommonResponse{
		HeaderMutation: lengthOf(text),
		BodyMutation:   &pb.BodyMutation{Mutation: &pb.BodyMutation_Body{Body: text}},
	})
}

// strip is the mark of a stream whose usage chunk is ours. It is shared and never
// written to.
var strip = structure(map[string]*structpb.Value{wire.MetadataStrip: structpb.NewBoolValue(true)})

// marked has Envoy take the usage chunk out of the answer, or send the request to the
// groups that are left. The route is the same, and is chosen again because it is asked
// for the first group before it is known which that is.
func marked(out *pb.ProcessingResponse, r *Request) *pb.ProcessingResponse {
	mark := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	if r.Strip {
		mark.Fields[wire.MetadataRequest] = strip
	}
	common := out.GetRequestBody().GetResponse()
	if r.chosen != nil {
		left := attempts(r.chosen)
		mark.Fields[wire.MetadataGroups] = structpb.NewStructValue(left)
		headers := common.GetHeaderMutation()
		if headers == nil {
			headers = &pb.HeaderMutation{}
		}
		headers.SetHeaders = append(headers.SetHeaders, retriesOf(left)) // without any header Envoy does not choose again
		common = &pb.CommonResponse{
			HeaderMutation: headers, BodyMutation: common.GetBodyMutation(), ClearRouteCache: true,
		}
	}
	marked := bodyResponse(common)
	marked.DynamicMetadata = mark
	return marked
}

// retriesOf ends the attempts with the last group that is left: Envoy would send all those
// that the whole route has there.
func retriesOf(left *structpb.Struct) *core.HeaderValueOption {
	groups := left.GetFields()[wire.GroupsField].GetListValue().GetValues()
	return header(wire.HeaderRetries, strconv.Itoa(len(groups)-1))
}

// lengthened is replaced for one attempt: the length is set even where the body
// stays as it is, because the header may still be the attempt before's.
func lengthened(text, edited []byte) *pb.ProcessingResponse {
	if edited != nil {
		return replaced(edited)
	}
	return bodyResponse(&pb.CommonResponse{HeaderMutation: lengthOf(text)})
}

func lengthOf(text []byte) *pb.HeaderMutation {
	return &pb.HeaderMutation{SetHeaders: []*core.HeaderValueOption{
		header("content-length", strconv.Itoa(len(text))),
	}}
}

// refused ends the request with err in OpenAI's form.
func refused(err error) *pb.ProcessingResponse {
	kind := fault.KindOf(err)
	headers := []*core.HeaderValueOption{header("content-type", "application/json")}
	if kind == fault.Unavailable {
		headers = append(headers, header("retry-after", "1"))
	}
	return &pb.ProcessingResponse{Response: &pb.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &pb.ImmediateResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(kind.Status())}, //nolint:gosec // an HTTP status
			Headers: &pb.HeaderMutation{SetHeaders: headers},
			Body:    fault.OpenAI(err),
			Details: wire.DetailsPrefix + kind.String(),
		},
	}}
}

func bodyResponse(common *pb.CommonResponse) *pb.ProcessingResponse {
	return &pb.ProcessingResponse{Response: &pb.ProcessingResponse_RequestBody{
		RequestBody: &pb.BodyResponse{Response: common},
	}}
}

func header(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header:       &core.HeaderValue{Key: name, RawValue: []byte(value)},
		AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
