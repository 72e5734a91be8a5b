package extproc_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/postern-proxy/postern/extproc"
	"github.com/postern-proxy/postern/extproc/provider/bedrock"
	"github.com/postern-proxy/postern/wire"
)

// answering is a stream of the lane of answers, for an attempt that asked so.
func answering(t *testing.T, asked bedrock.Asked) []string {
	t.Helper()
	text, err := json.Marshal(asked)
	require.NoError(t, err)
	return []string{wire.MetaLane, wire.LaneAnswer, wire.MetaRequest, "7", wire.MetaAsked, base64.RawURLEncoding.EncodeToString(text)}
}

func answerHeaders(lines ...string) *pb.ProcessingRequest {
	headers := &core.HeaderMap{}
	for _, line := range append(lines, wire.HeaderForm+"="+wire.FormBedrock, ":status=200") {
		name, value, _ := strings.Cut(line, "=")
		headers.Headers = append(headers.Headers, &core.HeaderValue{Key: name, RawValue: []byte(value)})
	}
	return &pb.ProcessingRequest{Request: &pb.ProcessingRequest_ResponseHeaders{ResponseHeaders: &pb.HttpHeaders{Headers: headers}}}
}

func answerBody(text []byte, end bool) *pb.ProcessingRequest {
	return &pb.ProcessingRequest{Request: &pb.ProcessingRequest_ResponseBody{ResponseBody: &pb.HttpBody{Body: text, EndOfStream: end}}}
}

// An answer whose length nobody announced, or that says to be longer than a body may be,
// takes room like any other.
func TestAnAnswerTakesTheRoomItNeeds(t *testing.T) {
	text := []byte(`{"output":{"message":{"role":"assistant","content":[{"text":"` + strings.Repeat("x", 1000) + `"}]}},"stopReason":"end_turn"}`)
	for name, c := range map[string]struct {
		length string
		budget int64
		want   codes.Code
	}{
		"unknown, and room":    {"x=y", extproc.Copies * 2000, codes.OK},
		"unknown, and no room": {"x=y", extproc.Copies * 1000, codes.ResourceExhausted},
		"nonsense":             {"content-length=many", extproc.Copies * 1000, codes.ResourceExhausted},
		"announced":            {"content-length=2000", extproc.Copies * 2000, codes.OK},
		"announced too short":  {"content-length=5", extproc.Copies * 1000, codes.ResourceExhausted},
		"more than there is":   {"content-length=99999999999999999999", extproc.Copies * 2000, codes.ResourceExhausted},
		"more than may be":     {"content-length=70000000", extproc.Copies * 2000, codes.ResourceExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			s := service(t)
			s.Budget = extproc.NewBudget(c.budget)
			_, err := converse(t, serve(t, s), answering(t, bedrock.Asked{Operation: bedrock.Converse, Form: bedrock.Chat}),
				answerHeaders("content-type=application/json", c.length), answerBody(text, true))
			assert.Equal(t, c.want, status.Code(err), err)
			assert.Eventually(t, func() bool { return s.Budget.Taken() == 0 }, waitFor, tick, "the budget was not given back")
		})
	}
}

// What a stream holds is counted where it is more than words that come and go, and one that
// there is no room for ends as any failed stream does.
func TestAStreamTakesTheRoomItNeeds(t *testing.T) {
	frame := func(size int) []byte {
		var out bytes.Buffer
		require.NoError(t, eventstream.NewEncoder().Encode(&out, eventstream.Message{
			Headers: eventstream.Headers{
				{Name: ":message-type", Value: eventstream.StringValue("event")},
				{Name: ":event-type", Value: eventstream.StringValue("contentBlockDelta")},
			},
			Payload: []byte(`{"contentBlockIndex":0,"delta":{"text":"` + strings.Repeat("x", size) + `"}}`),
		}))
		return out.Bytes()
	}
	play := func(t *testing.T, budget int64, form bedrock.Form, pieces ...[]byte) string {
		t.Helper()
		s := service(t)
		s.Budget = extproc.NewBudget(budget)
		all := []*pb.ProcessingRequest{answerHeaders("content-type=application/vnd.amazon.eventstream")}
		for _, piece := range pieces {
			all = append(all, answerBody(piece, false))
		}
		answers, err := converse(t, serve(t, s), answering(t, bedrock.Asked{Operation: bedrock.ConverseStream, Form: form, Stream: true}),
			append(all, answerBody(nil, true))...)
		require.NoError(t, err)
		var got strings.Builder
		for _, answer := range answers {
			got.Write(answer.GetResponseBody().GetResponse().GetBodyMutation().GetBody())
		}
		assert.Eventually(t, func() bool { return s.Budget.Taken() == 0 }, waitFor, tick, "the budget was not given back")
		return got.String()
	}
	half := frame(2 << 20)[:1<<20]
	t.Run("a frame that comes slowly", func(t *testing.T) {
		assert.Contains(t, play(t, 100<<10, bedrock.Chat, frame(10), half), `"gateway_unavailable"`)
		assert.Contains(t, play(t, 4<<20, bedrock.Chat, frame(10), half), `"provider_unreachable"`, "only its end is missing")
	})
	t.Run("a response that is said again", func(t *testing.T) {
		many := make([][]byte, 40)
		for i := range many {
			many[i] = frame(20 << 10)
		}
		assert.Contains(t, play(t, 100<<10, bedrock.Responses, many...), `gateway_unavailable`)
		assert.Contains(t, play(t, 8<<20, bedrock.Responses, many...), `provider_unreachable`)
		assert.Contains(t, play(t, 0, bedrock.Chat, many...), `provider_unreachable`, "words that come and go need no room")
	})
}
