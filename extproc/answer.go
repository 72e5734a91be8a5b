package extproc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	process "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/postern-proxy/postern/extproc/provider/bedrock"
	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// Messages of answers of another form. Those that are variables are shared and never
// written to.
var (
	// continueResponse lets an answer by.
	continueResponse = &pb.ProcessingResponse{Response: &pb.ProcessingResponse_ResponseHeaders{
		ResponseHeaders: &pb.HeadersResponse{},
	}}
	// together has the answer come whole.
	together = &pb.ProcessingResponse{
		Response: &pb.ProcessingResponse_ResponseHeaders{ResponseHeaders: &pb.HeadersResponse{}},
		ModeOverride: &process.ProcessingMode{
			ResponseHeaderMode: process.ProcessingMode_SEND, ResponseBodyMode: process.ProcessingMode_BUFFERED,
		},
	}
)

// pieces has the answer come in pieces, without the headers that are foreign.
func pieces(foreign []string) *pb.ProcessingResponse {
	return &pb.ProcessingResponse{
		Response: &pb.ProcessingResponse_ResponseHeaders{ResponseHeaders: &pb.HeadersResponse{
			Response: &pb.CommonResponse{HeaderMutation: &pb.HeaderMutation{
				SetHeaders:    []*core.HeaderValueOption{header("content-type", bedrock.StreamType), header("cache-control", "no-cache")},
				RemoveHeaders: append(foreign, "content-length"),
			}},
		}},
		ModeOverride: &process.ProcessingMode{
			ResponseHeaderMode: process.ProcessingMode_SEND, ResponseBodyMode: process.ProcessingMode_STREAMED,
		},
	}
}

// called sends a request on as the provider's: everything of it that an attempt before
// may have changed is set. What its answer has to be made for is noted.
func called(call bedrock.Call) *pb.ProcessingResponse {
	out := bodyResponse(&pb.CommonResponse{
		HeaderMutation: &pb.HeaderMutation{SetHeaders: []*core.HeaderValueOption{
			header(":path", call.Path), header("content-type", "application/json"), header("content-length", strconv.Itoa(len(call.Body))),
		}},
		BodyMutation: &pb.BodyMutation{Mutation: &pb.BodyMutation_Body{Body: call.Body}},
	})
	out.DynamicMetadata = &structpb.Struct{Fields: map[string]*structpb.Value{
		wire.MetadataAttempt: structure(map[string]*structpb.Value{wire.MetadataAsked: structpb.NewStringValue(packed(call.Asked))}),
	}}
	return out
}

// packed is what was asked as a text of letters, digits, dashes and underscores, as it
// can stand in the metadata of a stream.
func packed(asked bedrock.Asked) string {
	text, _ := json.Marshal(asked) //nolint:errchkjson // numbers, texts and booleans: cannot fail
	return base64.RawURLEncoding.EncodeToString(text)
}

func unpack(text string) (asked bedrock.Asked, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(raw, &asked)
	}
	return asked, err
}

// piece is a piece of a stream in place of the provider's; it may be empty.
func piece(text []byte) *pb.ProcessingResponse {
	return &pb.ProcessingResponse{Response: &pb.ProcessingResponse_ResponseBody{
		ResponseBody: &pb.BodyResponse{Response: &pb.CommonResponse{
			BodyMutation: &pb.BodyMutation{Mutation: &pb.BodyMutation_Body{Body: text}},
		}},
	}}
}

// whole is a whole answer in place of the provider's.
func whole(r bedrock.Reply, foreign []string) *pb.ProcessingResponse {
	return &pb.ProcessingResponse{
		Response:        &pb.ProcessingResponse_ResponseBody{ResponseBody: &pb.BodyResponse{Response: replied(r, foreign)}},
		DynamicMetadata: saidBy(r),
	}
}

// wholeAtHeaders is the same for an answer of the provider's that has no body.
func wholeAtHeaders(r bedrock.Reply, foreign []string) *pb.ProcessingResponse {
	common := replied(r, foreign)
	common.Status = pb.CommonResponse_CONTINUE_AND_REPLACE
	return &pb.ProcessingResponse{
		Response:        &pb.ProcessingResponse_ResponseHeaders{ResponseHeaders: &pb.HeadersResponse{Response: common}},
		DynamicMetadata: saidBy(r),
	}
}

func replied(r bedrock.Reply, foreign []string) *pb.CommonResponse {
	m := &pb.HeaderMutation{
		SetHeaders:    []*core.HeaderValueOption{header(":status", strconv.Itoa(r.Status)), header("content-length", strconv.Itoa(len(r.Body)))},
		RemoveHeaders: foreign,
	}
	wait := false
	for _, h := range r.Header {
		m.SetHeaders = append(m.SetHeaders, header(h.Name, h.Value))
		wait = wait || h.Name == "retry-after"
	}
	if !wait {
		m.RemoveHeaders = append(m.RemoveHeaders, "retry-after")
	}
	return &pb.CommonResponse{
		HeaderMutation: m,
		BodyMutation:   &pb.BodyMutation{Mutation: &pb.BodyMutation_Body{Body: r.Body}},
	}
}

func saidBy(r bedrock.Reply) *structpb.Struct {
	if r.Usage == nil {
		return said(bedrock.Usage{}, false, nil)
	}
	return said(*r.Usage, true, nil)
}

// said is what the access log is told of an answer: its tokens, and that it failed after
// it had begun with a 200. It is nil where there is nothing to tell.
func said(used bedrock.Usage, known bool, failure error) *structpb.Struct {
	fields := map[string]*structpb.Value{}
	if known {
		fields["input"] = structpb.NewNumberValue(float64(used.Prompt()))
		fields["output"] = structpb.NewNumberValue(float64(used.Output))
		fields["total"] = structpb.NewNumberValue(float64(used.Total()))
		if used.Cache {
			fields["cached"] = structpb.NewNumberValue(float64(used.CacheRead))
			fields["written"] = structpb.NewNumberValue(float64(used.CacheWrite))
		}
	}
	if failure != nil {
		fields["failed"] = structpb.NewStringValue(fault.KindOf(failure).String())
	}
	if len(fields) == 0 {
		return nil
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{wire.MetadataUsage: structure(fields)}}
}

// contentLength is an answer's announced length, which is taken to be no more than a body
// may be; 0 if it is not announced, and then it is counted when it has come.
func contentLength(header map[string]string) int64 {
	n, err := strconv.ParseUint(header["content-length"], 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return int64(min(n, maxBody))
}
