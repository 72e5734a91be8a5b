package extproc_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	process "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
	"google.golang.org/grpc/status"

	"github.com/postern-proxy/postern/extproc"
	"github.com/postern-proxy/postern/wire"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestConversations holds the service against conversations in files. Each says in
// its first lines what it guards, and has these parts:
//
//	metadata     of the stream, a "name: value" a line. $version is the version of
//	             config.yaml; postern-length is added unless it is there, "-" leaves
//	             it out.
//	config.yaml  the configuration, where the lane needs one
//	send         what is sent, a word a line; headers and body if it is not there
//	budget       bytes of room for bodies, if it is to be tight
//	body         of the request; body.quoted is the same as a Go string
//	answer       of a provider, sent after all else; see answerMessages
//	response     what comes back
//
// go test ./extproc -run Conversations -update writes the responses anew.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/conversations/*.txtar")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 25)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			require.NotEmpty(t, strings.TrimSpace(string(archive.Comment)), "the file does not say what it guards")
			got := newScript(t, archive).play(t)
			if *update {
				set(archive, "response", got)
				require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o600))
			}
			want, there := section(archive, "response")
			require.True(t, there, "run: go test ./extproc -run Conversations -update")
			assert.Equal(t, want, got, "run: go test ./extproc -run Conversations -update, and read the difference")
		})
	}
}

// script is a file, understood.
type script struct {
	meta     []string // name, value, …
	messages []*pb.ProcessingRequest
	service  *extproc.Service
}

func newScript(t *testing.T, archive *txtar.Archive) *script {
	t.Helper()
	s := &script{}
	version := ""
	if text, there := section(archive, "config.yaml"); there {
		cfg := parse(t, text)
		version = cfg.Version
		s.service = service(t, extproc.NewPlan(cfg, prices(t)))
	} else {
		s.service = service(t)
	}
	if limit, there := section(archive, "budget"); there {
		n, err := strconv.ParseInt(strings.TrimSpace(limit), 10, 64)
		require.NoError(t, err)
		s.service.Budget = extproc.NewBudget(n)
	}
	text := requestBody(t, archive)
	s.readMetadata(t, archive, version, len(text))
	words, there := section(archive, "send")
	answer := answerMessages(t, archive)
	if !there && answer == nil {
		words = "headers\nbody"
	}
	for word := range strings.FieldsSeq(words) {
		s.messages = append(s.messages, message(t, word, text))
	}
	s.messages = append(s.messages, answer...)
	s.service.Now = noon
	return s
}

func (s *script) readMetadata(t *testing.T, archive *txtar.Archive, version string, length int) {
	t.Helper()
	text, there := section(archive, "metadata")
	require.True(t, there, "no metadata")
	announced := strconv.Itoa(length)
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		require.True(t, ok, "not a line of metadata: %s", line)
		value = strings.ReplaceAll(strings.TrimSpace(value), "$version", version)
		if strings.HasPrefix(value, "{") { // postern-asked, for people
			value = base64.RawURLEncoding.EncodeToString([]byte(value))
		}
		if name == wire.MetaLength {
			announced = value
			continue
		}
		s.meta = append(s.meta, name, value)
	}
	if announced != "-" {
		s.meta = append(s.meta, wire.MetaLength, announced)
	}
}

func requestBody(t *testing.T, archive *txtar.Archive) []byte {
	t.Helper()
	if quoted, there := section(archive, "body.quoted"); there {
		text, err := strconv.Unquote(strings.TrimSpace(quoted))
		require.NoError(t, err)
		return []byte(text)
	}
	text, _ := section(archive, "body")
	return []byte(strings.TrimSuffix(text, "\n")) // the archive's, not the client's
}

func message(t *testing.T, word string, text []byte) *pb.ProcessingRequest {
	t.Helper()
	switch word {
	case "headers":
		return headers(false)
	case "headers-only":
		return headers(true)
	case "body":
		return body(text)
	case "trailers":
		return &pb.ProcessingRequest{Request: &pb.ProcessingRequest_RequestTrailers{RequestTrailers: &pb.HttpTrailers{}}}
	case "response-headers":
		return &pb.ProcessingRequest{Request: &pb.ProcessingRequest_ResponseHeaders{ResponseHeaders: &pb.HttpHeaders{}}}
	case "nothing":
		return &pb.ProcessingRequest{}
	}
	require.Fail(t, "no such message", word)
	return nil
}

// play has the conversation with a service of its own, and writes it down.
func (s *script) play(t *testing.T) string {
	t.Helper()
	client := serve(t, s.service)
	answers, err := converse(t, client, s.meta, s.messages...)
	var out strings.Builder
	for _, answer := range answers {
		render(t, &out, answer)
	}
	if err != nil {
		fmt.Fprintf(&out, "the stream failed: %s: %s\n", status.Code(err), status.Convert(err).Message())
	}
	assert.Eventually(t, func() bool { return s.service.Budget.Taken() == 0 }, waitFor, tick, "the budget was not given back")
	return out.String()
}

// render writes an answer for people. What it does not know of fails the test, so
// that no mutation goes unread.
func render(t *testing.T, out *strings.Builder, answer *pb.ProcessingResponse) {
	t.Helper()
	if mode := answer.GetModeOverride(); mode != nil {
		require.Equal(t, process.ProcessingMode_SEND, mode.GetResponseHeaderMode())
		defer fmt.Fprintf(out, "  the answer's body comes %s\n", mode.GetResponseBodyMode())
	}
	defer renderMetadata(t, out, answer)
	require.Nil(t, answer.GetOverrideMessageTimeout())
	switch r := answer.GetResponse().(type) {
	case *pb.ProcessingResponse_RequestHeaders:
		renderCommon(t, out, "headers", r.RequestHeaders.GetResponse())
	case *pb.ProcessingResponse_RequestBody:
		renderCommon(t, out, "body", r.RequestBody.GetResponse())
	case *pb.ProcessingResponse_ResponseHeaders:
		renderCommon(t, out, "answer's headers", r.ResponseHeaders.GetResponse())
	case *pb.ProcessingResponse_ResponseBody:
		renderCommon(t, out, "answer's body", r.ResponseBody.GetResponse())
	case *pb.ProcessingResponse_RequestTrailers:
		out.WriteString("trailers: continue\n")
	case *pb.ProcessingResponse_ImmediateResponse:
		i := r.ImmediateResponse
		require.Nil(t, i.GetGrpcStatus())
		fmt.Fprintf(out, "answered: %d, details %s\n", i.GetStatus().GetCode(), i.GetDetails())
		renderHeaders(t, out, i.GetHeaders())
		fmt.Fprintf(out, "%s\n", i.GetBody())
	default:
		require.Fail(t, "an answer of another kind", "%T", r)
	}
}

// renderMetadata writes the metadata that goes with an answer.
func renderMetadata(t *testing.T, out *strings.Builder, answer *pb.ProcessingResponse) {
	t.Helper()
	if answer.GetDynamicMetadata() == nil {
		return
	}
	text, err := json.Marshal(answer.GetDynamicMetadata().AsMap())
	require.NoError(t, err)
	fmt.Fprintf(out, "  metadata: %s\n", text)
}

func renderCommon(t *testing.T, out *strings.Builder, kind string, c *pb.CommonResponse) {
	t.Helper()
	require.Nil(t, c.GetTrailers())
	fmt.Fprintf(out, "%s: %s\n", kind, map[pb.CommonResponse_ResponseStatus]string{
		pb.CommonResponse_CONTINUE: "continue", pb.CommonResponse_CONTINUE_AND_REPLACE: "continue, with another body",
	}[c.GetStatus()])
	renderHeaders(t, out, c.GetHeaderMutation())
	if c.GetClearRouteCache() {
		out.WriteString("  the route is chosen again\n")
	}
	switch b := c.GetBodyMutation().GetMutation().(type) {
	case nil:
	case *pb.BodyMutation_Body:
		fmt.Fprintf(out, "  the body is now:\n%s\n", b.Body)
	default:
		require.Fail(t, "a body mutation of another kind", "%T", b)
	}
}

func renderHeaders(t *testing.T, out *strings.Builder, m *pb.HeaderMutation) {
	t.Helper()
	for _, h := range m.GetSetHeaders() {
		require.Equal(t, core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD, h.GetAppendAction())
		require.Empty(t, h.GetHeader().GetValue(), "Envoy takes the raw value only")
		fmt.Fprintf(out, "  %s = %s\n", h.GetHeader().GetKey(), h.GetHeader().GetRawValue())
	}
	for _, name := range m.GetRemoveHeaders() {
		fmt.Fprintf(out, "  %s is removed\n", name)
	}
}

func section(archive *txtar.Archive, name string) (text string, there bool) {
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data), true
		}
	}
	return "", false
}

func set(archive *txtar.Archive, name, text string) {
	for i := range archive.Files {
		if archive.Files[i].Name == name {
			archive.Files[i].Data = []byte(text)
			return
		}
	}
	archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(text)})
}
