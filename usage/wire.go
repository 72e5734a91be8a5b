package usage

import (
	"math"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/postern-proxy/postern/wire"
)

// This file reads of Envoy's messages what a Decoder asks for and passes over the
// rest. The numbers are those of envoy/service/accesslog/v3/als.proto and
// envoy/data/accesslog/v3/accesslog.proto; a test holds them against the generated
// types. A text is taken as it is, UTF-8 or not: the decoder cleans it. What is broken
// ends the message it stands in, not the ones around it.

// field is one field of a message: text for those that have a length, number for the
// others.
type field struct {
	number protowire.Number
	text   []byte
	value  uint64
}

// each walks a message's fields.
func each(message []byte, visit func(f field)) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		f := field{number: number}
		switch kind {
		case protowire.BytesType:
			f.text, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return
		}
		message = message[n:]
		visit(f)
	}
}

// readBatch reads a StreamAccessLogsMessage: its log's name, if it says one, its HTTP
// entries, and how many others it has.
func readBatch(message []byte) (name string, entries []*data.HTTPAccessLogEntry, others int) {
	each(message, func(f field) {
		switch f.number {
		case 1: // identifier
			each(f.text, func(f field) {
				if f.number == 2 {
					name = string(f.text)
				}
			})
		case 2: // http_logs
			each(f.text, func(f field) {
				if f.number == 1 {
					entries = append(entries, readEntry(f.text))
				}
			})
		case 3: // tcp_logs
			each(f.text, func(f field) { others++ })
		}
	})
	return name, entries, others
}

func readEntry(message []byte) *data.HTTPAccessLogEntry {
	e := &data.HTTPAccessLogEntry{
		CommonProperties: &data.AccessLogCommon{},
		Request:          &data.HTTPRequestProperties{},
		Response:         &data.HTTPResponseProperties{},
	}
	each(message, func(f field) {
		switch f.number {
		case 1:
			each(f.text, func(f field) { readCommon(e.GetCommonProperties(), f) })
		case 3:
			each(f.text, func(f field) { readRequest(e.GetRequest(), f) })
		case 4:
			each(f.text, func(f field) { readResponse(e.GetResponse(), f) })
		}
	})
	return e
}

func readCommon(c *data.AccessLogCommon, f field) {
	switch f.number {
	case 5:
		seconds, nanos := readTime(f.text)
		c.StartTime = &timestamppb.Timestamp{Seconds: seconds, Nanos: nanos}
	case 7:
		c.TimeToFirstUpstreamTxByte = readSpan(f.text)
	case 9:
		c.TimeToFirstUpstreamRxByte = readSpan(f.text)
	case 10:
		c.TimeToLastUpstreamRxByte = readSpan(f.text)
	case 11:
		c.TimeToFirstDownstreamTxByte = readSpan(f.text)
	case 12:
		c.TimeToLastDownstreamTxByte = readSpan(f.text)
	case 13:
		c.UpstreamRemoteAddress = readAddress(f.text)
	case 15:
		c.UpstreamCluster = string(f.text)
	case 16:
		if len(f.text) > 0 { // rare: most requests have none
			c.ResponseFlags = &data.ResponseFlags{}
			_ = proto.Unmarshal(f.text, c.GetResponseFlags()) // it has no text that could be wrong
		}
	case 17:
		c.Metadata = readMetadata(f.text, c.GetMetadata())
	case 18:
		c.UpstreamTransportFailureReason = string(f.text)
	case 19:
		c.RouteName = string(f.text)
	case 21:
		each(f.text, func(f field) {
			if f.number == 1 {
				readLane(c, string(f.text))
			}
		})
	case 22:
		key, value := readPair(f.text)
		if c.CustomTags == nil {
			c.CustomTags = map[string]string{}
		}
		c.CustomTags[string(key)] = string(value)
	case 23:
		c.Duration = readSpan(f.text)
	case 24:
		c.UpstreamRequestAttemptCount = uint32(min(f.value, math.MaxUint32)) //nolint:gosec // bounded
	case 26:
		c.StreamId = string(f.text)
	case 33:
		c.AccessLogType = data.AccessLogType(min(f.value, math.MaxInt32)) //nolint:gosec // bounded
	}
}

// readAddress is sinkAddress if that is the one; of others nothing is asked.
func readAddress(message []byte) (at *core.Address) {
	var address []byte
	var port uint64
	each(message, func(f field) {
		if f.number != 1 {
			return
		}
		each(f.text, func(f field) {
			switch f.number {
			case 2:
				address = f.text
			case 3:
				port = f.value
			}
		})
	})
	if port == wire.SinkPort && string(address) == wire.SinkAddress {
		return sinkAddress
	}
	return nil
}

// sinkAddress is where attempts go that have nowhere to go. It is not changed.
var sinkAddress = &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
	Address: wire.SinkAddress, PortSpecifier: &core.SocketAddress_PortValue{PortValue: wire.SinkPort},
}}}

// readLane turns the trace of the filter that finds names into the lane's tag.
func readLane(c *data.AccessLogCommon, filter string) {
	if filter != StateFound {
		return
	}
	if c.CustomTags == nil {
		c.CustomTags = map[string]string{}
	}
	c.CustomTags["lane"] = string(Found)
}

func readRequest(r *data.HTTPRequestProperties, f field) {
	switch f.number {
	case 5:
		r.Path = string(f.text)
	case 9:
		r.RequestId = string(f.text)
	case 10:
		r.OriginalPath = string(f.text)
	case 12:
		r.RequestBodyBytes = f.value
	}
}

func readResponse(r *data.HTTPResponseProperties, f field) {
	switch f.number {
	case 1:
		code := &wrapperspb.UInt32Value{}
		each(f.text, func(f field) { code.Value = uint32(min(f.value, math.MaxUint32)) }) //nolint:gosec // bounded
		r.ResponseCode = code
	case 3:
		r.ResponseBodyBytes = f.value
	case 4:
		key, value := readPair(f.text)
		if r.ResponseHeaders == nil {
			r.ResponseHeaders = make(map[string]string, 2)
		}
		r.ResponseHeaders[string(key)] = string(value)
	case 6:
		r.ResponseCodeDetails = string(f.text)
	}
}

func readTime(message []byte) (seconds int64, nanos int32) {
	each(message, func(f field) {
		switch f.number {
		case 1:
			seconds = int64(f.value) //nolint:gosec // the wire's form of a negative number
		case 2:
			nanos = int32(f.value) //nolint:gosec // likewise
		}
	})
	return seconds, nanos
}

func readSpan(message []byte) *durationpb.Duration {
	seconds, nanos := readTime(message)
	return &durationpb.Duration{Seconds: seconds, Nanos: nanos}
}

// readPair reads an entry of a map.
func readPair(message []byte) (key, value []byte) {
	each(message, func(f field) {
		switch f.number {
		case 1:
			key = f.text
		case 2:
			value = f.text
		}
	})
	return key, value
}

// readMetadata adds the namespaces that are ours.
func readMetadata(message []byte, to *core.Metadata) *core.Metadata {
	if to == nil {
		to = &core.Metadata{FilterMetadata: map[string]*structpb.Struct{}}
	}
	each(message, func(f field) {
		if f.number != 1 {
			return
		}
		key, value := readPair(f.text)
		switch namespace := string(key); namespace {
		case metadataKeys, MetadataRequest, MetadataUsage:
			to.FilterMetadata[namespace] = readStruct(value, 0)
		}
	})
	return to
}

// deepest is how far values may lie in each other and still be read.
const deepest = 4

func readStruct(message []byte, depth int) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	if depth > deepest {
		return s
	}
	each(message, func(f field) {
		if f.number == 1 {
			key, value := readPair(f.text)
			s.Fields[string(key)] = readValue(value, depth)
		}
	})
	return s
}

// readValue reads numbers, texts and objects; every other value is none.
func readValue(message []byte, depth int) *structpb.Value {
	v := &structpb.Value{}
	each(message, func(f field) {
		switch f.number {
		case 2:
			v.Kind = &structpb.Value_NumberValue{NumberValue: math.Float64frombits(f.value)}
		case 3:
			v.Kind = &structpb.Value_StringValue{StringValue: string(f.text)}
		case 5:
			v.Kind = &structpb.Value_StructValue{StructValue: readStruct(f.text, depth+1)}
		}
	})
	return v
}
