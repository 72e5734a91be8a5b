package usage

import (
	"testing"
	"time"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	service "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/postern-proxy/postern/wire"
)

// full has every field that a Decoder asks for.
func full(e *data.HTTPAccessLogEntry) {
	c := e.GetCommonProperties()
	c.TimeToFirstUpstreamTxByte = durationpb.New(3 * time.Millisecond)
	c.TimeToFirstUpstreamRxByte = durationpb.New(200 * time.Millisecond)
	c.TimeToLastUpstreamRxByte = durationpb.New(900 * time.Millisecond)
	c.TimeToLastDownstreamTxByte = durationpb.New(1100 * time.Millisecond)
	c.ResponseFlags = &data.ResponseFlags{UpstreamRetryLimitExceeded: true, DownstreamRemoteReset: true}
	c.StreamId = "stream"
	c.UpstreamRequestAttemptCount = 7
	c.UpstreamRemoteAddress = sinkAddress
	c.UpstreamTransportFailureReason = "TLS_error"
	e.Request.OriginalPath = "/v1/chat/completions"
	e.Request.UserAgent = "somebody"
}

// The numbers of the fields are written down here; the generated types know them.
func TestReadingFieldByFieldIsReadingWhole(t *testing.T) {
	d := decoder(t)
	for name, change := range map[string]func(*data.HTTPAccessLogEntry){
		"full":   full,
		"usual":  func(*data.HTTPAccessLogEntry) {},
		"silent": func(e *data.HTTPAccessLogEntry) { proto.Reset(e) },
		"another form": func(e *data.HTTPAccessLogEntry) {
			usageIs(t, map[string]any{"input": 7, "failed": "upstream_failed"})(e)
			e.CommonProperties.Metadata.FilterMetadata[wire.MetadataForm] = fieldsOf(t, map[string]any{
				wire.MetadataPath: "/embeddings", "more": []any{1, map[string]any{"path": "x"}},
			})
			e.Response.ResponseHeaders[headerRetry] = "7"
		},
		"usage as text": usageIs(t, map[string]any{"raw": `{"prompt_tokens":7,"completion_tokens":3}`}),
	} {
		t.Run(name, func(t *testing.T) {
			whole := requestEntry(t, "id", change)
			text, err := proto.Marshal(message(LogRequests, whole, whole))
			require.NoError(t, err)
			log, entries, others := readBatch(text, nil)
			assert.Equal(t, LogRequests, log)
			assert.Zero(t, others)
			require.Len(t, entries, 2)
			var read entry
			read.read(entries[0])
			read.read(entries[1]) // nothing is left of the one before
			of := entryOf(whole)
			assert.Equal(t, of.log(""), read.log(""))
			var m memos
			for range 2 { // what is remembered is the same
				var r Request
				d.request(&read, &m, &r)
				assert.Equal(t, d.Request(whole), r)
				assert.Equal(t, d.Attempt(whole), d.attempt(&read, &m))
			}
		})
	}
}

// requestsIn are those of a message.
func requestsIn(t testing.TB, message []byte) []Request {
	d := decoder(t)
	_, entries, _ := readBatch(message, nil)
	requests := make([]Request, len(entries))
	var m memos
	var e entry
	for i, text := range entries {
		e.read(text)
		d.request(&e, &m, &requests[i])
	}
	return requests
}

// A client's id may be no UTF-8; Envoy passes it on, and a whole batch is lost on a
// reader that insists.
func TestATextThatIsNoUTF8CostsNobodyElse(t *testing.T) {
	e := requestEntry(t, "PLACEHOLDER")
	text, err := proto.Marshal(message(LogRequests, e, requestEntry(t, "b")))
	require.NoError(t, err)
	for i := range text {
		if string(text[i:min(len(text), i+11)]) == "PLACEHOLDER" {
			text[i] = 0xFF
		}
	}
	require.Error(t, proto.Unmarshal(text, new(service.StreamAccessLogsMessage)))
	requests := requestsIn(t, text)
	require.Len(t, requests, 2)
	assert.Equal(t, "?LACEHOLDER", requests[0].ID)
	assert.Equal(t, "b", requests[1].ID)
}

func TestUsageAsTheAPISaysIt(t *testing.T) {
	for text, want := range map[string]found{
		`{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":5}}`: {9, 12, 21, 4, -1, 5},
		`{"input_tokens":9,"output_tokens":12,"total_tokens":21,"input_tokens_details":{"cached_tokens":0},"output_tokens_details":{"reasoning_tokens":1}}`:           {9, 12, 21, 0, -1, 1},
		`{"prompt_tokens":9,"total_tokens":9}`:                              {9, -1, 9, -1, -1, -1},
		`{"prompt_tokens":-9,"completion_tokens":1e300,"total_tokens":"x"}`: nothing,
		`{"prompt_tokens":"9","completion_tokens":null,"total_tokens":[1]}`: {9, -1, -1, -1, -1, -1},
		`{"prompt_tokens":1.5}`:                                             nothing, `{`: nothing, ``: nothing, `[]`: nothing, `{}`: nothing,
	} {
		assert.Equal(t, want, readRaw(text), text)
	}
}

func FuzzBatch(f *testing.F) {
	text, err := proto.Marshal(message(LogRequests, requestEntry(f, "a", full)))
	require.NoError(f, err)
	f.Add(text)
	d := decoder(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		_, entries, _ := readBatch(text, nil)
		var m memos
		var e entry
		for _, part := range entries {
			var r Request
			e.read(part)
			d.request(&e, &m, &r)
			d.Finish(&r)
			assert.LessOrEqual(t, len(r.ID), maxID)
			_ = d.attempt(&e, &m)
		}
	})
}

func BenchmarkBatch(b *testing.B) {
	text, err := proto.Marshal(message(LogRequests, requestEntry(b, "a")))
	require.NoError(b, err)
	b.Run("field by field", func(b *testing.B) {
		b.ReportAllocs()
		var e entry
		var entries [][]byte
		for b.Loop() {
			_, entries, _ = readBatch(text, entries[:0])
			e.read(entries[0])
		}
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = proto.Unmarshal(text, new(service.StreamAccessLogsMessage))
		}
	})
}
