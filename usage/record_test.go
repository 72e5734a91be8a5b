package usage

import (
	"math"
	"testing"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"github.com/stretchr/testify/assert"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/postern-proxy/postern/wire"
)

// recorded is an entry as the native module writes it: its record.
type recorded []byte

func (r *recorded) number(field protowire.Number, n uint64) {
	*r = protowire.AppendVarint(protowire.AppendTag(*r, field, protowire.VarintType), n)
}

func (r *recorded) text(field protowire.Number, text []byte) {
	if len(text) > 0 {
		*r = protowire.AppendBytes(protowire.AppendTag(*r, field, protowire.BytesType), text)
	}
}

func (r *recorded) value(field protowire.Number, v value) {
	switch v.kind {
	case numberValue:
		*r = protowire.AppendFixed64(protowire.AppendTag(*r, field, protowire.Fixed64Type), math.Float64bits(v.number))
	case textValue:
		r.text(field, v.text)
	case noValue:
	}
}

// record is what the module writes where Envoy's own log has the message.
func record(of *data.HTTPAccessLogEntry) []byte {
	e := entryOf(of)
	var r recorded
	r.number(recordKind, uint64(e.kind))
	if !e.began.IsZero() {
		r.number(recordBegun, uint64(e.began.UnixNano()))
	}
	if e.total {
		r.number(recordWhole, uint64(e.times[whole]))
	}
	if e.upstream {
		r.number(recordLastGot, uint64(e.times[lastGot]))
	}
	for field, which := range map[protowire.Number]int{
		recordFirstSent: firstSent, recordFirstGot: firstGot, recordFirstAnswered: firstAnswered, recordLastAnswered: lastAnswered,
	} {
		if took := e.times[which]; took > 0 {
			r.number(field, uint64(took))
		}
	}
	r.number(recordStatus, e.status)
	r.number(recordFlags, bitsOf(e.flags))
	r.number(recordAttempts, e.attempts)
	r.number(recordBytesIn, e.in)
	r.number(recordBytesOut, e.out)
	if e.sink {
		r.number(recordPort, 1)
		r.text(recordAddress, []byte("127.0.0.1"))
	}
	for field := protowire.Number(recordID); field <= recordForm; field++ {
		r.text(field, *e.textAt(field))
	}
	r.text(recordPeer, e.peer)
	r.text(recordRefused, e.refused)
	r.value(recordSaid, e.said.raw)
	for field, v := range map[protowire.Number]value{
		recordInput: e.said.input, recordOutput: e.said.output, recordTotal: e.said.total,
		recordCached: e.said.cached, recordWritten: e.said.written, recordReasoning: e.said.reasoning, recordFailed: e.said.failed,
	} {
		r.value(field, v)
	}
	return r
}

// bitsOf are the flags as Envoy's own set of bits.
func bitsOf(f *data.ResponseFlags) (set uint64) {
	for bit, raise := range flagBits {
		one := &data.ResponseFlags{}
		raise(one)
		for _, flag := range flagNames {
			if flag.set(one) && flag.set(f) {
				set |= 1 << bit
			}
		}
	}
	return set
}

// What the module writes is read as what Envoy's own log would have said.
func TestARecordIsAnEntry(t *testing.T) {
	d := decoder(t)
	for name, change := range map[string]func(*data.HTTPAccessLogEntry){
		"full":   full,
		"usual":  func(*data.HTTPAccessLogEntry) {},
		"silent": func(e *data.HTTPAccessLogEntry) { proto.Reset(e) },
		"another form": func(e *data.HTTPAccessLogEntry) {
			usageIs(t, map[string]any{"input": 7, "output": 0, "failed": "upstream_failed"})(e)
			e.CommonProperties.Metadata.FilterMetadata[wire.MetadataForm] = fieldsOf(t, map[string]any{wire.MetadataPath: "/embeddings"})
			e.CommonProperties.Metadata.FilterMetadata[MetadataRequest] = fieldsOf(t, map[string]any{wire.MetadataLane: "found"})
		},
		"written to a cache": usageIs(t, map[string]any{"input": 7, "output": 1, "cached": 2, "written": 3}),
		"usage as text":      usageIs(t, map[string]any{"raw": `{"prompt_tokens":7,"completion_tokens":3}`}),
		"an attempt": func(e *data.HTTPAccessLogEntry) {
			proto.Reset(e)
			proto.Merge(e, attemptEntry(t, "id", 2, flags(&data.ResponseFlags{UpstreamConnectionFailure: true})))
			e.Response.ResponseHeaders[headerRetry] = "7"
		},
	} {
		t.Run(name, func(t *testing.T) {
			of := requestEntry(t, "id", change)
			want := entryOf(of)
			var read entry
			read.readRecord(record(of))
			assert.Equal(t, want.log(""), read.log(""))
			var m memos
			var r Request
			d.request(&read, &m, &r)
			assert.Equal(t, d.Request(of), r)
			assert.Equal(t, d.Attempt(of), d.attempt(&read, &m))
		})
	}
}

// The bits are those of Envoy's CoreResponseFlag, whose order that of the names is, but
// for DO (27), which no message has.
func TestABitOfAFlagIsItsName(t *testing.T) {
	for i, flag := range flagNames {
		bit := i
		if flag.name == "DR" {
			bit = 28
		}
		if flag.name == "UAEX" {
			assert.Empty(t, flagText(flagsAt(1<<bit)))
			continue
		}
		assert.Equal(t, flag.name, flagText(flagsAt(1<<bit)))
	}
	assert.Nil(t, flagsAt(0))
	assert.NotNil(t, flagsAt(1<<63), "what nobody knows is a flag all the same")
}

func FuzzRecord(f *testing.F) {
	f.Add(record(requestEntry(f, "a", full)))
	f.Add([]byte{0xFF, 0xFF, 0xFF})
	d := decoder(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		var m memos
		var e entry
		var r Request
		e.readRecord(text)
		d.request(&e, &m, &r)
		d.Finish(&r)
		assert.LessOrEqual(t, len(r.ID), maxID)
		assert.GreaterOrEqual(t, r.Duration, min(0, r.Duration))
		_ = d.attempt(&e, &m)
	})
}
