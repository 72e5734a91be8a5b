package usage

import (
	"fmt"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/postern-proxy/postern/usage/price"
)

var begun = time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC)

func fieldsOf(t testing.TB, from map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(from)
	require.NoError(t, err)
	return s
}

// requestEntry is a chat at openai, as Envoy logs it, with what change makes of it.
func requestEntry(t testing.TB, id string, change ...func(*data.HTTPAccessLogEntry)) *data.HTTPAccessLogEntry {
	e := &data.HTTPAccessLogEntry{
		CommonProperties: &data.AccessLogCommon{
			StartTime:                   timestamppb.New(begun),
			Duration:                    durationpb.New(1200 * time.Millisecond),
			TimeToFirstDownstreamTxByte: durationpb.New(300 * time.Millisecond),
			UpstreamCluster:             "provider/openai",
			RouteName:                   "model/gpt-4o-mini",
			UpstreamRequestAttemptCount: 1,
			AccessLogType:               data.AccessLogType_DownstreamEnd,
			Metadata: &core.Metadata{FilterMetadata: map[string]*structpb.Struct{
				metadataKeys: fieldsOf(t, map[string]any{"jwt": map[string]any{
					"tenant": "acme", "jti": "k1", "sub": "ada", "tier": "gold",
				}}),
				MetadataRequest: fieldsOf(t, map[string]any{"model": "gpt-4o-mini"}),
				MetadataUsage: fieldsOf(t, map[string]any{
					"input": 1000, "output": 100, "total": 1100, "cached": 400, "reasoning": 0, "model": "gpt-4o-mini-2024-07-18",
				}),
			}},
		},
		Request: &data.HTTPRequestProperties{
			RequestId: id, Path: "/v1/chat/completions?x=1", RequestBodyBytes: 4000,
		},
		Response: &data.HTTPResponseProperties{
			ResponseCode: wrapperspb.UInt32(200), ResponseBodyBytes: 800, ResponseCodeDetails: viaUpstream,
			ResponseHeaders: map[string]string{headerConfig: "abcdef012345", headerType: "application/json"},
		},
	}
	for _, c := range change {
		c(e)
	}
	return e
}

func attemptEntry(t testing.TB, id string, n int, change ...func(*data.HTTPAccessLogEntry)) *data.HTTPAccessLogEntry {
	e := requestEntry(t, id)
	delete(e.GetCommonProperties().GetMetadata().GetFilterMetadata(), MetadataUsage)
	e.CommonProperties.AccessLogType = data.AccessLogType_UpstreamEnd
	e.CommonProperties.UpstreamRequestAttemptCount = uint32(n)
	e.CommonProperties.StartTime = timestamppb.New(begun.Add(time.Duration(n) * time.Millisecond))
	e.CommonProperties.Duration = durationpb.New(100 * time.Millisecond)
	e.CommonProperties.TimeToFirstUpstreamRxByte = durationpb.New(80 * time.Millisecond)
	e.CommonProperties.TimeToLastUpstreamRxByte = durationpb.New(90 * time.Millisecond)
	for _, c := range change {
		c(e)
	}
	return e
}

func noUsage(e *data.HTTPAccessLogEntry) {
	delete(e.GetCommonProperties().GetMetadata().GetFilterMetadata(), MetadataUsage)
}

func usageIs(t testing.TB, said map[string]any) func(*data.HTTPAccessLogEntry) {
	return func(e *data.HTTPAccessLogEntry) {
		e.CommonProperties.Metadata.FilterMetadata[MetadataUsage] = fieldsOf(t, said)
	}
}

func flags(f *data.ResponseFlags) func(*data.HTTPAccessLogEntry) {
	return func(e *data.HTTPAccessLogEntry) { e.CommonProperties.ResponseFlags = f }
}

func answered(status uint32, details string) func(*data.HTTPAccessLogEntry) {
	return func(e *data.HTTPAccessLogEntry) {
		e.Response.ResponseCode, e.Response.ResponseCodeDetails = wrapperspb.UInt32(status), details
	}
}

func at(cluster string) func(*data.HTTPAccessLogEntry) {
	return func(e *data.HTTPAccessLogEntry) { e.CommonProperties.UpstreamCluster = cluster }
}

func streamed(e *data.HTTPAccessLogEntry) {
	e.Response.ResponseHeaders[headerType] = "text/event-stream; charset=utf-8"
}

// refusedAtTheDoor is a request that no provider was asked for.
func refusedAtTheDoor(status uint32, details string) func(*data.HTTPAccessLogEntry) {
	return func(e *data.HTTPAccessLogEntry) {
		answered(status, details)(e)
		at("")(e)
		noUsage(e)
		e.CommonProperties.UpstreamRequestAttemptCount = 0
	}
}

func decoder(t testing.TB) Decoder {
	t.Helper()
	table, err := price.Load(price.Settings{})
	require.NoError(t, err)
	return Decoder{Prices: func() Prices { return table }}
}

// finished is an entry's request, as a consumer gets it.
func finished(t testing.TB, e *data.HTTPAccessLogEntry) *Request {
	d := decoder(t)
	r := d.Request(e)
	d.Finish(&r)
	return &r
}

func exact(n int64) Count     { return Count{N: n, Source: Exact} }
func estimated(n int64) Count { return Count{N: n, Source: Estimated} }

var long = strings.Repeat("x", 1<<20)

func threeDigits(n int) string { return fmt.Sprintf("%03d", n) }
