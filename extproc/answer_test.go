package extproc_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// noon is what time it is in conversations.
func noon() time.Time { return time.Unix(1_700_000_000, 0) }

// answerMessages are the messages of an answer, as the section "answer" has it: headers,
// a "name: value" a line, an empty line, and the body. A body whose lines are
// "event NAME JSON" or "exception NAME JSON" is frames, each a piece of its own; the line
// "cut" is half a frame.
func answerMessages(t *testing.T, archive *txtar.Archive) []*pb.ProcessingRequest {
	t.Helper()
	text, there := section(archive, "answer")
	if !there {
		return nil
	}
	head, rest, _ := strings.Cut(text, "\n\n")
	headers := &pb.HttpHeaders{Headers: &core.HeaderMap{}, EndOfStream: strings.TrimSpace(rest) == ""}
	for line := range strings.Lines(head) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		require.True(t, ok, "not a line of headers: %s", line)
		headers.Headers.Headers = append(headers.Headers.Headers, &core.HeaderValue{Key: strings.TrimSpace(name), RawValue: []byte(strings.TrimSpace(value))})
	}
	all := []*pb.ProcessingRequest{{Request: &pb.ProcessingRequest_ResponseHeaders{ResponseHeaders: headers}}}
	if headers.GetEndOfStream() {
		return all
	}
	pieces := [][]byte{[]byte(strings.TrimSuffix(rest, "\n"))}
	if strings.Contains(head, "eventstream") {
		pieces = frames(t, rest)
	}
	for i, piece := range pieces {
		all = append(all, &pb.ProcessingRequest{Request: &pb.ProcessingRequest_ResponseBody{
			ResponseBody: &pb.HttpBody{Body: piece, EndOfStream: i == len(pieces)-1},
		}})
	}
	return all
}

// frames are what Bedrock would send for the lines, and nothing at the end.
func frames(t *testing.T, lines string) [][]byte {
	t.Helper()
	var all [][]byte
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if words[0] == "cut" {
			last := all[len(all)-1]
			all[len(all)-1] = last[:len(last)/2]
			continue
		}
		require.Len(t, words, 3, line)
		var out bytes.Buffer
		require.NoError(t, eventstream.NewEncoder().Encode(&out, eventstream.Message{
			Headers: eventstream.Headers{
				{Name: ":message-type", Value: eventstream.StringValue(words[0])},
				{Name: ":" + words[0] + "-type", Value: eventstream.StringValue(words[1])},
				{Name: ":content-type", Value: eventstream.StringValue("application/json")},
			},
			Payload: []byte(words[2]),
		}))
		all = append(all, out.Bytes())
	}
	return append(all, nil)
}
