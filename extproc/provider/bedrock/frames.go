package bedrock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"
)

// The parts of a frame that is not its content: eight bytes of lengths, four of their
// checksum, and four of the whole frame's checksum at its end
// (https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html).
const (
	lengthsSize = 8
	preludeSize = lengthsSize + crc32.Size
	leastFrame  = preludeSize + crc32.Size
	mostFrame   = 16 << 20 // larger than anything Bedrock sends, and a bound on what is held
	keptFrame   = 64 << 10 // room for more than this is given back once it is empty
)

var (
	errFrameChecksum = errors.New("the checksum of a frame's lengths is wrong")
	errFrameLength   = errors.New("a frame's lengths are impossible")
	errFrameRest     = errors.New("a frame is longer than its parts")
)

// frames cuts bytes that arrive in any pieces into whole frames. The lengths are
// believed only once their checksum is right, so that HTML, or a stream that lost a
// byte, never makes it wait for megabytes.
type frames struct {
	held []byte
	read int // how much of held was given out
}

// add takes a piece. The frames given out before it are no longer valid.
func (f *frames) add(piece []byte) {
	if f.read == len(f.held) && cap(f.held) > keptFrame {
		f.held, f.read = nil, 0
	}
	if f.read > 0 {
		f.held = f.held[:copy(f.held, f.held[f.read:])]
		f.read = 0
	}
	f.held = append(f.held, piece...)
}

// next is the next whole frame; nil if more bytes are needed.
func (f *frames) next() ([]byte, error) {
	rest := f.held[f.read:]
	if len(rest) < preludeSize {
		return nil, nil
	}
	if crc32.ChecksumIEEE(rest[:lengthsSize]) != binary.BigEndian.Uint32(rest[lengthsSize:]) {
		return nil, errFrameChecksum
	}
	total, headers := binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:])
	if total < leastFrame || total > mostFrame || headers > total-leastFrame {
		return nil, errFrameLength
	}
	if uint32(len(rest)) < total { //nolint:gosec // a piece is far below 4 GiB
		return nil, nil
	}
	f.read += int(total)
	return rest[:total], nil
}

// unfinished says that bytes are left which are no whole frame.
func (f *frames) unfinished() bool { return f.read < len(f.held) }

// event is what one frame says. Its payload is valid until the next frame is read.
type event struct {
	kind    string // event, exception or error
	name    string // "contentBlockDelta", "throttlingException"
	message string // of an error: exceptions have theirs in the payload
	payload []byte
}

// frameReader reads whole frames, with room that it uses again.
type frameReader struct {
	decoder *eventstream.Decoder
	bytes   bytes.Reader
	payload []byte
}

func (r *frameReader) read(frame []byte) (event, error) {
	if r.decoder == nil {
		r.decoder = eventstream.NewDecoder()
	}
	if cap(r.payload) > keptFrame {
		r.payload = nil
	}
	r.bytes.Reset(frame)
	m, err := r.decoder.Decode(&r.bytes, r.payload)
	if err != nil {
		return event{}, fmt.Errorf("a frame is broken: %w", err)
	}
	if r.bytes.Len() > 0 {
		return event{}, errFrameRest
	}
	if cap(m.Payload) > cap(r.payload) {
		r.payload = m.Payload[:0]
	}
	e := event{kind: frameHeader(m, eventstreamapi.MessageTypeHeader), payload: m.Payload}
	switch e.kind {
	case eventstreamapi.EventMessageType:
		e.name = frameHeader(m, eventstreamapi.EventTypeHeader)
	case eventstreamapi.ExceptionMessageType:
		e.name = frameHeader(m, eventstreamapi.ExceptionTypeHeader)
	case eventstreamapi.ErrorMessageType:
		e.name = frameHeader(m, eventstreamapi.ErrorCodeHeader)
		e.message = frameHeader(m, eventstreamapi.ErrorMessageHeader)
	}
	return e, nil
}

// frameHeader is a text header's value; empty if it is missing or is no text.
func frameHeader(m eventstream.Message, name string) string {
	for i := range m.Headers {
		if m.Headers[i].Name == name {
			text, _ := m.Headers[i].Value.(eventstream.StringValue)
			return string(text)
		}
	}
	return ""
}
