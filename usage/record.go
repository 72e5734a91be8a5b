package usage

import (
	"math"
	"time"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"google.golang.org/protobuf/encoding/protowire"
)

// This file reads the records that the native module writes in place of Envoy's own
// entries (xds/reader/native/log.c, which has the same numbers): the same fields, without
// nesting. A text is taken as it is, UTF-8 or not: the decoder cleans it.

// The fields of a record.
const (
	recordKind = iota + 1
	recordBegun
	recordWhole
	recordFirstSent
	recordFirstGot
	recordLastGot
	recordFirstAnswered
	recordLastAnswered
	recordStatus
	recordFlags
	recordAttempts
	recordBytesIn
	recordBytesOut
	recordPort
	recordAddress
	recordID
	recordStreamID
	recordPath
	recordOriginalPath
	recordCluster
	recordRoute
	recordFailure
	recordDetails
	recordConfig
	recordMedia
	recordRetry
	recordTenant
	recordKey
	recordUser
	recordTier
	recordModel
	recordLane
	recordForm
	recordSaid
	recordInput
	recordOutput
	recordTotal
	recordCached
	recordWritten
	recordReasoning
	recordFailed
	recordPeer
	recordRefused
)

// readRecord reads one record in place of what was in e.
func (e *entry) readRecord(message []byte) {
	*e = entry{}
	var port uint64
	var address []byte
	for s := (scan{rest: message}); s.next(); {
		switch s.number {
		case recordPort:
			port = s.value
		case recordAddress:
			address = s.text
		case recordPeer:
			e.peer = s.text
		case recordRefused:
			e.refused = s.text
		default:
			e.readField(&s)
		}
	}
	e.sink = atSink(address, port)
}

func (e *entry) readField(s *scan) {
	switch {
	case s.number <= recordLastAnswered:
		e.readMoment(s)
	case s.number <= recordBytesOut:
		e.readCount(s)
	case s.number <= recordForm:
		if place := e.textAt(s.number); place != nil {
			*place = s.text
		}
	default:
		e.said.readField(s)
	}
}

func (e *entry) readMoment(s *scan) {
	took := span(split(s.value))
	switch s.number {
	case recordKind:
		e.kind = data.AccessLogType(min(s.value, uint64(data.AccessLogType_UpstreamEnd)))
	case recordBegun:
		e.began = moment(split(s.value))
	case recordWhole:
		e.times[whole], e.total = took, true
	case recordFirstSent:
		e.times[firstSent] = took
	case recordFirstGot:
		e.times[firstGot] = took
	case recordLastGot:
		e.times[lastGot], e.upstream = took, true
	case recordFirstAnswered:
		e.times[firstAnswered] = took
	case recordLastAnswered:
		e.times[lastAnswered] = took
	}
}

func (e *entry) readCount(s *scan) {
	switch s.number {
	case recordStatus:
		e.status = s.value
	case recordFlags:
		e.flags = flagsAt(s.value)
	case recordAttempts:
		e.attempts = s.value
	case recordBytesIn:
		e.in = s.value
	case recordBytesOut:
		e.out = s.value
	}
}

// split has nanoseconds in protobuf's two parts.
func split(ns uint64) (seconds int64, nanos int32) {
	const second = uint64(time.Second)
	return int64(ns / second), int32(ns % second) //nolint:gosec // both fit
}

// textAt is where the text of a field belongs; nil: nowhere.
func (e *entry) textAt(field protowire.Number) *[]byte {
	switch field {
	case recordID:
		return &e.id
	case recordStreamID:
		return &e.stream
	case recordPath:
		return &e.path
	case recordOriginalPath:
		return &e.original
	case recordCluster:
		return &e.cluster
	case recordRoute:
		return &e.route
	case recordFailure:
		return &e.failure
	case recordDetails:
		return &e.details
	case recordConfig:
		return &e.config
	case recordMedia:
		return &e.media
	case recordRetry:
		return &e.retry
	default:
		return e.metadataAt(field)
	}
}

func (e *entry) metadataAt(field protowire.Number) *[]byte {
	switch field {
	case recordTenant:
		return &e.tenant
	case recordKey:
		return &e.key
	case recordUser:
		return &e.user
	case recordTier:
		return &e.tier
	case recordModel:
		return &e.asked
	case recordLane:
		return &e.askedLane
	case recordForm:
		return &e.form
	}
	return nil
}

func (to *said) readField(s *scan) {
	v := value{number: math.Float64frombits(s.value), kind: numberValue}
	switch s.number {
	case recordSaid:
		to.raw = value{text: s.text, kind: textValue}
	case recordInput:
		to.input = v
	case recordOutput:
		to.output = v
	case recordTotal:
		to.total = v
	case recordCached:
		to.cached = v
	case recordWritten:
		to.written = v
	case recordReasoning:
		to.reasoning = v
	case recordFailed:
		to.failed = value{text: s.text, kind: textValue}
	}
}
