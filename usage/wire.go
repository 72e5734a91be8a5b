package usage

import (
	"math"
	"time"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"google.golang.org/protobuf/proto"

	"github.com/postern-proxy/postern/wire"
)

// This file reads of Envoy's messages what a Decoder asks for and passes over the
// rest. The numbers are those of envoy/service/accesslog/v3/als.proto and
// envoy/data/accesslog/v3/accesslog.proto; a test holds them against the generated
// types. A text is taken as it is, UTF-8 or not: the decoder cleans it.

// entry is what is asked of one entry of the log. Its texts are parts of the message
// that it was read from, and end with it.
type entry struct {
	kind     data.AccessLogType
	flags    *data.ResponseFlags // nil: none
	attempts uint64
	sink     bool // the attempt went to the sink

	began    time.Time
	times    [times]time.Duration // by what they are of; 0: not said, or cannot be
	total    bool                 // the whole duration was said
	upstream bool                 // the last byte from upstream was

	id, stream, path, original    []byte
	peer                          []byte // the connection's address, as the message has it
	cluster, route, failure       []byte
	details, config, media, retry []byte
	refused                       []byte
	status, in, out               uint64

	// From the metadata.
	tenant, key, user, tier []byte
	asked, askedLane, form  []byte
	said                    said
}

// Which time of an entry.
const (
	whole = iota
	firstSent
	firstGot
	lastGot
	firstAnswered
	lastAnswered
	times
)

// said is what the provider said that it used: its own words, or the numbers by name.
type said struct {
	raw                                              value
	input, output, total, cached, written, reasoning value
	failed                                           value
}

// value is one value of metadata: a text, a number, or anything else, which is none.
type value struct {
	text   []byte
	number float64
	kind   kind
}

type kind uint8

const (
	noValue kind = iota
	textValue
	numberValue
)

// word is a value's text; nil for every other kind.
func (v value) word() []byte {
	if v.kind == textValue {
		return v.text
	}
	return nil
}

// readBatch reads a StreamAccessLogsMessage: its log's name, if it says one, its HTTP
// entries, added to those given, and how many others it has.
func readBatch(message []byte, into [][]byte) (name string, entries [][]byte, others int) {
	for s := (scan{rest: message}); s.next(); {
		switch s.number {
		case 1: // identifier
			for s := (scan{rest: s.text}); s.next(); {
				if s.number == 2 {
					name = string(s.text)
				}
			}
		case 2: // http_logs
			for s := (scan{rest: s.text}); s.next(); {
				if s.number == 1 {
					into = append(into, s.text)
				}
			}
		case 3: // tcp_logs
			for s := (scan{rest: s.text}); s.next(); {
				others++
			}
		}
	}
	return name, into, others
}

// read reads one entry in place of what was in e.
func (e *entry) read(message []byte) {
	*e = entry{}
	for s := (scan{rest: message}); s.next(); {
		inner := scan{rest: s.text}
		switch s.number {
		case 1:
			for inner.next() {
				e.readCommon(&inner)
			}
		case 3:
			for inner.next() {
				e.readRequest(&inner)
			}
		case 4:
			for inner.next() {
				e.readResponse(&inner)
			}
		}
	}
}

func (e *entry) readCommon(s *scan) {
	switch s.number {
	case 13:
		e.sink = isSink(s.text)
	case 15:
		e.cluster = s.text
	case 16:
		if len(s.text) > 0 { // rare: most requests have none
			e.flags = &data.ResponseFlags{}
			_ = proto.Unmarshal(s.text, e.flags) // it has no text that could be wrong
		}
	case 17:
		e.readMetadata(s.text)
	case 18:
		e.failure = s.text
	case 19:
		e.route = s.text
	case 20:
		e.peer = s.text
	case 24:
		e.attempts = s.value
	case 26:
		e.stream = s.text
	case 33:
		e.kind = data.AccessLogType(min(s.value, math.MaxInt32))
	default:
		e.readTime(s)
	}
}

// readTime reads when what happened.
func (e *entry) readTime(s *scan) {
	switch s.number {
	case 5:
		e.began = moment(instant(s.text))
	case 7:
		e.times[firstSent] = span(instant(s.text))
	case 9:
		e.times[firstGot] = span(instant(s.text))
	case 10:
		e.times[lastGot], e.upstream = span(instant(s.text)), true
	case 11:
		e.times[firstAnswered] = span(instant(s.text))
	case 12:
		e.times[lastAnswered] = span(instant(s.text))
	case 23:
		e.times[whole], e.total = span(instant(s.text)), true
	}
}

// instant reads a Timestamp or a Duration.
func instant(message []byte) (seconds int64, nanos int32) {
	for s := (scan{rest: message}); s.next(); {
		switch s.number {
		case 1:
			seconds = int64(s.value) //nolint:gosec // the wire's form of a negative number
		case 2:
			nanos = int32(s.value) //nolint:gosec // likewise
		}
	}
	return seconds, nanos
}

// isSink says that an address is where attempts go that have nowhere to go.
func isSink(message []byte) bool {
	var address []byte
	var port uint64
	for s := (scan{rest: message}); s.next(); {
		if s.number != 1 {
			continue
		}
		for s := (scan{rest: s.text}); s.next(); {
			switch s.number {
			case 2:
				address = s.text
			case 3:
				port = s.value
			}
		}
	}
	return atSink(address, port)
}

func atSink(address []byte, port uint64) bool {
	return port == wire.SinkPort && string(address) == wire.SinkAddress
}

func (e *entry) readRequest(s *scan) {
	switch s.number {
	case 5:
		e.path = s.text
	case 9:
		e.id = s.text
	case 10:
		e.original = s.text
	case 12:
		e.in = s.value
	}
}

func (e *entry) readResponse(s *scan) {
	switch s.number {
	case 1:
		for s := (scan{rest: s.text}); s.next(); {
			e.status = s.value
		}
	case 3:
		e.out = s.value
	case 4:
		switch key, value := pair(s.text); string(key) {
		case headerConfig:
			e.config = value
		case headerType:
			e.media = value
		case headerRetry:
			e.retry = value
		case headerRefused:
			e.refused = value
		}
	case 6:
		e.details = s.text
	}
}

// readMetadata reads the namespaces that are ours.
func (e *entry) readMetadata(message []byte) {
	for s := (scan{rest: message}); s.next(); {
		if s.number != 1 {
			continue
		}
		namespace, text := pair(s.text)
		for s := (scan{rest: text}); s.next(); {
			if s.number != 1 {
				continue
			}
			key, value := pair(s.text)
			switch string(namespace) {
			case metadataKeys:
				if string(key) == claims {
					e.readClaims(value)
				}
			case MetadataRequest:
				e.readAsked(key, value)
			case wire.MetadataForm:
				if string(key) == wire.MetadataPath {
					e.form = readValue(value).word()
				}
			case MetadataUsage:
				e.said.read(key, value)
			}
		}
	}
}

// readClaims reads those of a key's claims that are asked for.
func (e *entry) readClaims(message []byte) {
	for s := (scan{rest: message}); s.next(); {
		if s.number != 5 {
			continue
		}
		for s := (scan{rest: s.text}); s.next(); {
			if s.number != 1 {
				continue
			}
			switch key, value := pair(s.text); string(key) {
			case "tenant":
				e.tenant = readValue(value).word()
			case "jti":
				e.key = readValue(value).word()
			case "sub":
				e.user = readValue(value).word()
			case "tier":
				e.tier = readValue(value).word()
			}
		}
	}
}

func (e *entry) readAsked(key, value []byte) {
	switch string(key) {
	case "model":
		e.asked = readValue(value).word()
	case wire.MetadataLane:
		e.askedLane = readValue(value).word()
	}
}

func (to *said) read(key, value []byte) {
	if place := to.place(string(key)); place != nil {
		*place = readValue(value)
	}
}

// place is where the value of that name belongs; nil for all that are not asked for.
func (to *said) place(name string) *value {
	switch name {
	case "raw":
		return &to.raw
	case "input":
		return &to.input
	case "output":
		return &to.output
	case "total":
		return &to.total
	case "cached":
		return &to.cached
	case "written":
		return &to.written
	case "reasoning":
		return &to.reasoning
	case "failed":
		return &to.failed
	}
	return nil
}

// readValue reads numbers and texts; every other value is none.
func readValue(message []byte) value {
	var v value
	for s := (scan{rest: message}); s.next(); {
		switch s.number {
		case 2:
			v = value{number: math.Float64frombits(s.value), kind: numberValue}
		case 3:
			v = value{text: s.text, kind: textValue}
		case 1, 4, 5, 6:
			v = value{}
		}
	}
	return v
}
