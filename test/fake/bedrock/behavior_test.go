package bedrock_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
)

// is says that an error is one of the SDK's.
func is[T error](err error) bool {
	var want T
	return errors.As(err, &want)
}

var exceptions = map[string]struct {
	exception fake.Exception
	is        func(error) bool
	streams   bool // the service has it in streams too
}{
	"throttling":       {fake.Throttling, is[*types.ThrottlingException], true},
	"validation":       {fake.Validation, is[*types.ValidationException], true},
	"access denied":    {fake.AccessDenied, is[*types.AccessDeniedException], false},
	"not found":        {fake.NotFound, is[*types.ResourceNotFoundException], false},
	"model timeout":    {fake.ModelTimeout, is[*types.ModelTimeoutException], false},
	"model not ready":  {fake.ModelNotReady, is[*types.ModelNotReadyException], false},
	"model error":      {fake.ModelError, is[*types.ModelErrorException], false},
	"model stream":     {fake.ModelStreamError, is[*types.ModelStreamErrorException], true},
	"internal":         {fake.Internal, is[*types.InternalServerException], true},
	"unavailable":      {fake.Unavailable, is[*types.ServiceUnavailableException], true},
	"a quota's excess": {fake.QuotaExceeded, is[*types.ServiceQuotaExceededException], false},
}

func TestExceptionsAreTheSDKs(t *testing.T) {
	server := fake.Start(t)
	c := client(t, server)
	for name, e := range exceptions {
		t.Run(name, func(t *testing.T) {
			server.Always(fake.Fail(e.exception))
			err := stream(t, c, ask(claude, "x")).err
			require.Error(t, err)
			assert.True(t, e.is(err), err)
			if name != "model stream" { // no error of Converse, which does not stream
				_, err = c.Converse(t.Context(), ask(claude, "x"))
				assert.True(t, e.is(err), err)
			}
			var response *smithyhttp.ResponseError
			require.ErrorAs(t, err, &response)
			assert.Equal(t, e.exception.Status, response.HTTPStatusCode())
			require.ErrorContains(t, err, e.exception.Message)
			if !e.streams {
				return
			}
			for frames, text := range map[int]string{0: "", 3: "You said: ", fake.AtEnd: "You said: x"} {
				server.Always(fake.FailInStream(e.exception, frames))
				all := stream(t, c, ask(claude, "x"))
				require.Error(t, all.err)
				assert.True(t, e.is(all.err), all.err)
				assert.Equal(t, text, all.text)
			}
			_, err = c.Converse(t.Context(), ask(claude, "x"))
			assert.Error(t, err, "an answer that does not stream is the exception")
		})
	}
}

func TestThrottledSaysWhen(t *testing.T) {
	server := fake.Start(t)
	server.Next(1, fake.Throttled(1500*time.Millisecond))
	_, err := client(t, server).Converse(t.Context(), ask(claude, "x"))
	var response *smithyhttp.ResponseError
	require.ErrorAs(t, err, &response)
	assert.Equal(t, "2", response.Response.Header.Get("Retry-After"))
	_, err = client(t, server).Converse(t.Context(), ask(claude, "x"))
	require.NoError(t, err, "only the next one")
}

func TestBrokenStreams(t *testing.T) {
	cases := map[string]struct {
		behavior fake.Behavior
		fails    string // what the SDK says; empty: nothing
		text     string
	}{
		"no message stop":  {fake.Behavior{Omit: []string{"messageStop"}}, "", "You said: x"},
		"no metadata":      {fake.Behavior{Omit: []string{"metadata"}}, "", "You said: x"},
		"message checksum": {fake.Behavior{CorruptMessage: 3}, "checksum", "You "},
		"lengths checksum": {fake.Behavior{CorruptPrelude: 3}, "checksum", "You "},
		"cut":              {fake.CutStream(fake.Close, 2), "", "You "}, // the SDK takes it for the end
		"cut in a frame":   {fake.CutMidFrame(fake.Close, 2), "", "You "},
		"reset":            {fake.CutStream(fake.Reset, 2), " ", "You "},
		"empty":            {fake.Behavior{Empty: true}, "", ""},
		"in bytes":         {fake.Behavior{ByteByByte: true}, "", "You said: x"},
		"together":         {fake.Behavior{Together: true}, "", "You said: x"},
		"an error frame":   {fake.Behavior{Frames: [][]byte{fake.ErrorFrame("Odd", "what?")}}, "Odd", ""},
		"a frame too new":  {fake.Behavior{Frames: [][]byte{fake.Frame("someday", []byte("{}"))}}, "", ""},
		"a page":           {fake.HTML(), "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := fake.Start(t)
			server.Always(c.behavior)
			all := stream(t, client(t, server), ask(claude, "x"))
			if c.fails == "" && name != "a page" {
				require.NoError(t, all.err)
			} else {
				require.ErrorContains(t, all.err, c.fails)
			}
			if name != "reset" { // it may overtake what was written before
				assert.Equal(t, c.text, all.text)
			}
			eventually(t, func() bool { return server.Counts().Active == 0 }, "all answers end")
			how := c.behavior.Break.How != fake.Finish
			assert.Equal(t, how, server.Counts().Broken == 1)
		})
	}
}

func TestNoAnswers(t *testing.T) {
	for name, b := range map[string]fake.Behavior{
		"close": fake.NoAnswer(fake.Close), "reset": fake.NoAnswer(fake.Reset), "garbage": fake.Garbage(),
		"cut": fake.BreakOff(fake.Close), "half": fake.GarbageJSON(), "page": fake.HTML(), "status": fake.Status(502),
	} {
		for _, options := range [][]fake.Option{nil, {fake.WithTLS(nil)}} {
			server := fake.Start(t, options...)
			server.Always(b)
			_, err := client(t, server).Converse(t.Context(), ask(claude, "x"))
			assert.Error(t, err, name)
		}
	}
}

func TestWhatTheModelSays(t *testing.T) {
	server := fake.Start(t)
	c := client(t, server)
	server.ForModel(claude, fake.Behavior{Reasoning: "let me think", CacheRead: 30, CacheWrite: 12, Content: "so be it", StopReason: "content_filtered"})
	all := stream(t, c, ask(claude, "x"))
	require.NoError(t, all.err)
	assert.Equal(t, "let me think", all.reasoning)
	assert.Equal(t, "so be it", all.text)
	assert.Equal(t, types.StopReasonContentFiltered, all.stop)
	assert.Equal(t, []int32{1, 6, 30, 12, 49}, []int32{
		*all.usage.InputTokens, *all.usage.OutputTokens, *all.usage.CacheReadInputTokens, *all.usage.CacheWriteInputTokens, *all.usage.TotalTokens,
	})
	out, err := c.Converse(t.Context(), ask(claude, "x"))
	require.NoError(t, err)
	assert.Len(t, out.Output.(*types.ConverseOutputMemberMessage).Value.Content, 2)

	server.Reset()
	in := ask(claude, "call a tool")
	in.ToolConfig = tools("a", "b", "c")
	server.ForText("call a tool", fake.Behavior{ToolInput: `{"broken":`, Calls: 2})
	all = stream(t, c, in)
	assert.Equal(t, "ab", all.tool)
	assert.Equal(t, `{"broken":{"broken":`, all.input)
	out, err = c.Converse(t.Context(), in)
	require.NoError(t, err)
	assert.Len(t, out.Output.(*types.ConverseOutputMemberMessage).Value.Content, 2)

	server.Reset()
	server.Always(fake.Behavior{Size: 100_000, Pieces: 3})
	all = stream(t, c, ask(claude, "x"))
	assert.Len(t, all.text, 100_000)
	assert.Equal(t, 1+3+1+2, all.events)
}

func TestGateAndLateMetadata(t *testing.T) {
	server := fake.Start(t)
	gate := make(chan struct{})
	server.Always(fake.Behavior{Gate: gate, MetadataDelay: 20 * time.Millisecond})
	began := time.Now()
	done := make(chan streamed)
	c := client(t, server)
	go func() { done <- stream(t, c, ask(claude, "x")) }()
	gate <- struct{}{} // received only once the server waits for it
	assert.Equal(t, 1, server.Counts().Active)
	close(gate)
	all := <-done
	require.NoError(t, all.err)
	assert.NotNil(t, all.usage)
	assert.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond)
}

func TestFramesAreWhole(t *testing.T) {
	server := fake.Start(t, fake.WithoutSignatures())
	response, got := post(t, server, claude, "converse-stream", messages(hello))
	assert.Equal(t, "application/vnd.amazon.eventstream", response.Header.Get("Content-Type"))
	reader, decoder := bytes.NewReader([]byte(got)), eventstream.NewDecoder()
	var kinds []string
	for reader.Len() > 0 {
		message, err := decoder.Decode(reader, nil)
		require.NoError(t, err)
		kinds = append(kinds, message.Headers.Get(":event-type").String())
	}
	assert.Equal(t, []string{
		"messageStart", "contentBlockDelta", "contentBlockDelta", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata",
	}, kinds)
}

func TestEveryWord(t *testing.T) {
	server := fake.Start(t, fake.WithoutSignatures())
	for word, status := range map[string]int{"throttled": 429, "model-timeout": 408, "html": 200, "503": 503, "nothing known": 200} {
		body := strings.Replace(messages(hello), "hello", "fake:"+word, 1)
		response, _ := post(t, server, claude, "converse", body)
		assert.Equal(t, status, response.StatusCode, word)
		response, _ = post(t, server, claude, "converse", more(`"requestMetadata":{"user":"fake:`+strings.ReplaceAll(word, " ", "")+`"}`))
		assert.Equal(t, status, response.StatusCode, word)
	}
	_, ok := fake.Named("900")
	assert.False(t, ok)
}

func TestCloseEndsWhatWaits(t *testing.T) {
	for _, options := range [][]fake.Option{nil, {fake.WithTLS(nil)}} {
		server := fake.Start(t, options...)
		server.Always(fake.CutStream(fake.Stall, 2))
		c, ended := client(t, server), make(chan streamed, 1)
		go func() { ended <- stream(t, c, ask(claude, "x")) }()
		eventually(t, func() bool { return len(server.Requests()) == 1 }, "the request arrives")
		server.Close()
		assert.Nil(t, (<-ended).usage, "it did not come to the end")
		assert.Zero(t, server.Counts().Aborted, "the client did nothing wrong")
		server.Close()
		require.NoError(t, server.Resume(), "after the end there is nothing to resume")
	}
}

func TestRefuseResumeDrop(t *testing.T) {
	server := fake.Start(t)
	c := client(t, server)
	try := func() error {
		_, err := c.Converse(t.Context(), ask(claude, "x"))
		return err
	}
	require.NoError(t, try())
	server.Refuse()
	require.Error(t, try())
	require.NoError(t, server.Resume())
	require.NoError(t, try())
	server.Next(1, fake.BreakOff(fake.Stall))
	failed := make(chan error, 1)
	go func() { failed <- try() }()
	eventually(t, func() bool { return server.Counts().Requests == 3 }, "the request arrives")
	server.Drop()
	require.Error(t, <-failed)
	eventually(t, func() bool { return server.Counts().Aborted == 1 }, "the client is gone")
	require.NoError(t, try())
	assert.Equal(t, http.MethodPost, server.Last().Method)
}
