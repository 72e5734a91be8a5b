package usage

import (
	"fmt"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/postern-proxy/postern/usage/price"
	"github.com/postern-proxy/postern/wire"
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
			TimeToFirstUpstreamTxByte:   durationpb.New(time.Millisecond),
			UpstreamCluster:             "provider/openai",
			RouteName:                   "model/gpt-4o-mini",
			UpstreamRequestAttemptCount: 1,
			AccessLogType:               data.AccessLogType_DownstreamEnd,
			DownstreamDirectRemoteAddress: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
				Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 36304},
			}}},
			Metadata: &core.Metadata{FilterMetadata: map[string]*structpb.Struct{
				metadataKeys: fieldsOf(t, map[string]any{"jwt": map[string]any{
					"tenant": "acme", "jti": "k1", "sub": "ada", "tier": "gold",
				}}),
				MetadataRequest: fieldsOf(t, map[string]any{"model": "gpt-4o-mini"}),
				MetadataUsage: fieldsOf(t, map[string]any{
					"input": 1000, "output": 100, "total": 1100, "cached": 400, "reasoning": 0,
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

// neverLeft is a request that Envoy could send nowhere, and answered itself.
func neverLeft(details string) func(*data.HTTPAccessLogEntry) {
	return func(e *data.HTTPAccessLogEntry) {
		noUsage(e)
		answered(503, details)(e)
		e.CommonProperties.TimeToFirstUpstreamTxByte = nil
		e.Response.ResponseBodyBytes = 160 // Envoy's own words
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
		e.CommonProperties.UpstreamRequestAttemptCount, e.CommonProperties.TimeToFirstUpstreamTxByte = 0, nil
	}
}

func decoder(t testing.TB) Decoder {
	t.Helper()
	table, err := price.Load(price.Settings{})
	require.NoError(t, err)
	return Decoder{Prices: func(string) Prices { return table }}
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

// sinkAddress is where attempts go that have nowhere to go.
var sinkAddress = &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
	Address: wire.SinkAddress, PortSpecifier: &core.SocketAddress_PortValue{PortValue: wire.SinkPort},
}}}

// Request reads a generated message as if it had come.
func (d *Decoder) Request(whole *data.HTTPAccessLogEntry) Request {
	var m memos
	var r Request
	e := entryOf(whole)
	d.request(&e, &m, &r)
	return r
}

// Attempt is the same for an attempt's.
func (d *Decoder) Attempt(whole *data.HTTPAccessLogEntry) Attempt {
	var m memos
	e := entryOf(whole)
	return d.attempt(&e, &m)
}

// entryOf is what read makes of a message's text, made of its generated type: these are
// two ways to the same, and neither knows of the other.
func entryOf(e *data.HTTPAccessLogEntry) entry {
	c, request, response := e.GetCommonProperties(), e.GetRequest(), e.GetResponse()
	at := c.GetUpstreamRemoteAddress().GetSocketAddress()
	headers := response.GetResponseHeaders()
	to := entry{
		kind: c.GetAccessLogType(), flags: c.GetResponseFlags(), attempts: uint64(c.GetUpstreamRequestAttemptCount()),
		sink:  at.GetAddress() == wire.SinkAddress && at.GetPortValue() == wire.SinkPort,
		total: c.GetDuration() != nil, upstream: c.GetTimeToLastUpstreamRxByte() != nil,
		id: []byte(request.GetRequestId()), stream: []byte(c.GetStreamId()),
		path: []byte(request.GetPath()), original: []byte(request.GetOriginalPath()),
		cluster: []byte(c.GetUpstreamCluster()), route: []byte(c.GetRouteName()), failure: []byte(c.GetUpstreamTransportFailureReason()),
		details: []byte(response.GetResponseCodeDetails()),
		config:  []byte(headers[headerConfig]), media: []byte(headers[headerType]), retry: []byte(headers[headerRetry]), refused: []byte(headers[headerRefused]),
		status: uint64(response.GetResponseCode().GetValue()), in: request.GetRequestBodyBytes(), out: response.GetResponseBodyBytes(),
	}
	if address := c.GetDownstreamDirectRemoteAddress(); address != nil {
		to.peer, _ = proto.Marshal(address)
	}
	if t := c.GetStartTime(); t.IsValid() {
		to.began = t.AsTime()
	}
	for i, d := range []*durationpb.Duration{
		c.GetDuration(), c.GetTimeToFirstUpstreamTxByte(), c.GetTimeToFirstUpstreamRxByte(), c.GetTimeToLastUpstreamRxByte(),
		c.GetTimeToFirstDownstreamTxByte(), c.GetTimeToLastDownstreamTxByte(),
	} {
		if took := d.AsDuration(); took > 0 && took <= 7*24*time.Hour {
			to.times[i] = took
		}
	}
	to.fromMetadata(c.GetMetadata().GetFilterMetadata())
	return to
}

func (e *entry) fromMetadata(of map[string]*structpb.Struct) {
	key := of[metadataKeys].GetFields()[claims].GetStructValue().GetFields()
	e.tenant, e.key, e.user, e.tier = wordOf(key["tenant"]), wordOf(key["jti"]), wordOf(key["sub"]), wordOf(key["tier"])
	e.asked, e.askedLane = wordOf(of[MetadataRequest].GetFields()["model"]), wordOf(of[MetadataRequest].GetFields()["lane"])
	e.form = wordOf(of[wire.MetadataForm].GetFields()[wire.MetadataPath])
	for name, v := range of[MetadataUsage].GetFields() {
		place := e.said.place(name)
		if place == nil {
			continue
		}
		switch v := v.GetKind().(type) {
		case *structpb.Value_NumberValue:
			*place = value{number: v.NumberValue, kind: numberValue}
		case *structpb.Value_StringValue:
			*place = value{text: []byte(v.StringValue), kind: textValue}
		}
	}
}

func wordOf(v *structpb.Value) []byte {
	if word, ok := v.GetKind().(*structpb.Value_StringValue); ok {
		return []byte(word.StringValue)
	}
	return nil
}
