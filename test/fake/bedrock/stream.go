package bedrock

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	api "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// Frame is one event of a stream, in the form of application/vnd.amazon.eventstream.
// It panics if the frame is larger than the format allows.
func Frame(kind string, payload []byte) []byte {
	return encodeFrame(payload, api.MessageTypeHeader, api.EventMessageType, api.EventTypeHeader, kind, api.ContentTypeHeader, "application/json")
}

// Frame is the exception as a frame of a stream.
func (e Exception) Frame() []byte {
	return encodeFrame(e.body(), api.MessageTypeHeader, api.ExceptionMessageType, api.ExceptionTypeHeader, e.member(), api.ContentTypeHeader, "application/json")
}

// ErrorFrame is an error the service has no exception for.
func ErrorFrame(code, message string) []byte {
	return encodeFrame(nil, api.MessageTypeHeader, api.ErrorMessageType, api.ErrorCodeHeader, code, api.ErrorMessageHeader, message)
}

func encodeFrame(payload []byte, headers ...string) []byte {
	message := eventstream.Message{Payload: payload}
	for pair := range slices.Chunk(headers, 2) {
		message.Headers.Set(pair[0], eventstream.StringValue(pair[1]))
	}
	var out bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&out, message); err != nil {
		panic("fake Bedrock: a frame is too large: " + err.Error())
	}
	return out.Bytes()
}

// event is a frame and its kind.
type event struct {
	kind string
	data object
}

// frames is the answer of ConverseStream, with what a behaviour does to its frames.
func (said *reply) frames(b Behavior) answer {
	a := answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}}, frames: [][]byte{}}
	for _, e := range said.events(b) {
		if slices.Contains(b.Omit, e.kind) {
			continue
		}
		if e.kind == "metadata" {
			a.metadata = len(a.frames)
		}
		e.data["p"] = "abcdefghijk" // padding, which the service adds against guesses by length
		a.frames = append(a.frames, Frame(e.kind, stage.Encode(e.data)))
	}
	if b.Frames != nil {
		a.frames, a.metadata = slices.Clone(b.Frames), 0
	}
	if b.Exception.Name != "" {
		a.frames = append(a.frames[:min(b.After, len(a.frames))], b.Exception.Frame())
	}
	// A frame ends with four bytes of checksum; those of the lengths follow the two
	// lengths, which are of four bytes each.
	corrupt(a.frames, b.CorruptMessage, func(frame []byte) int { return len(frame) - 1 })
	corrupt(a.frames, b.CorruptPrelude, func([]byte) int { return 8 })
	return a
}

func corrupt(frames [][]byte, number int, place func([]byte) int) {
	if number < 1 || number > len(frames) {
		return
	}
	frame := slices.Clone(frames[number-1])
	frame[place(frame)] ^= 0xff
	frames[number-1] = frame
}

// events are in the service's order. Only calls of tools have a start of their block.
func (said *reply) events(b Behavior) []event {
	events := []event{{"messageStart", object{"role": "assistant"}}}
	index := 0
	delta := func(d object) {
		events = append(events, event{"contentBlockDelta", object{"contentBlockIndex": index, "delta": d}})
	}
	stop := func() {
		events = append(events, event{"contentBlockStop", object{"contentBlockIndex": index}})
		index++
	}
	if said.reasoning != "" {
		for _, piece := range pieces(b, said.reasoning) {
			delta(object{"reasoningContent": object{"text": piece}})
		}
		delta(object{"reasoningContent": object{"signature": signed}})
		stop()
	}
	if said.speaks {
		for _, piece := range pieces(b, said.text) {
			delta(object{"text": piece})
		}
		stop()
	}
	for _, call := range said.calls {
		start := object{"toolUse": object{"toolUseId": call.id, "name": call.name}}
		events = append(events, event{"contentBlockStart", object{"contentBlockIndex": index, "start": start}})
		spaced := strings.ReplaceAll(call.input, ",", ", ") // so that there are pieces
		for _, piece := range pieces(b, spaced) {
			delta(object{"toolUse": object{"input": piece}})
		}
		stop()
	}
	return append(events,
		event{"messageStop", object{"stopReason": said.stop}},
		event{"metadata", object{"usage": said.usage, "metrics": object{"latencyMs": latency}}})
}
