package bedrock

import (
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// Bounds on what a stream that says nothing sensible can make us hold.
const (
	mostOpen = 1024     // blocks that have begun and not ended
	mostKept = 16 << 20 // bytes of text that have to be said again at the end
)

// Stream makes OpenAI's stream of events out of Bedrock's frames, as they come.
//
// It ends in one of two ways. [DONE], or response.completed, is written after
// messageStop and the usage that follows it, or after messageStop and a clean end of
// the stream; then nothing of the answer is missing. Everything else, such as an
// exception, a broken frame, or an end before messageStop, is one error event. After
// either, nothing more is written.
type Stream struct {
	asked   Asked
	frames  frames
	reader  frameReader
	speaker speaker
	out     []byte

	begun, stopped, over bool
	err                  error
	end                  ending
	odd                  string
	usage                *Usage

	open   []streamBlock // blocks that have begun and not ended
	opened int
	called int
	kept   int

	wrapped wrapped
}

// streamBlock is a block of content that is being said.
type streamBlock struct {
	answerPart // its text is only kept by those who have to say it again

	source  int64 // Bedrock's contentBlockIndex
	order   int   // which block it is, counted from 0
	call    int   // which call it is, counted from 0
	said    bool
	unseen  bool // reasoning that only has a seal
	ignored bool
}

// speaker writes what a model says in one of OpenAI's forms of a stream. Texts are
// escaped, as they stand between the quotes of a JSON string. A block's pointer is
// valid during the call.
type speaker interface {
	begin(to []byte) []byte
	open(to []byte, b *streamBlock) []byte
	say(to []byte, b *streamBlock, text string) []byte
	close(to []byte, b *streamBlock) []byte
	stop(to []byte, end ending, called bool) []byte
	end(to []byte, used *Usage) []byte
	fail(to []byte, err error) []byte
	held() int // bytes that are kept to be said again, besides those of open blocks
}

// NewStream makes a stream for one answer. The id is the request's, without a prefix.
func NewStream(a Asked, now time.Time, id string) *Stream {
	return &Stream{asked: a, speaker: newSpeaker(a, newStamp(a, now, id))}
}

func newSpeaker(a Asked, s stamp) speaker {
	switch a.Form {
	case Responses:
		return &responseSpeaker{stamp: s}
	case Completions:
		return newChunkSpeaker(a, s, "cmpl-", "text_completion")
	default:
		return newChunkSpeaker(a, s, "chatcmpl-", "chat.completion.chunk")
	}
}

// Write takes the next bytes of Bedrock's answer, in any pieces, and gives those to
// send on now, which may be none. end says that no more will come, by an end as HTTP
// has it; an answer that was cut off must be given as one too. What it gives is valid
// until the next Write.
func (s *Stream) Write(chunk []byte, end bool) []byte {
	if cap(s.out) > keptFrame {
		s.out = nil
	}
	s.out = s.out[:0]
	if s.over {
		return nil
	}
	s.frames.add(chunk)
	for !s.over && s.step() {
	}
	if end && !s.over {
		s.ended()
	}
	return s.out
}

// Abort ends the stream because whoever plays it can hold no more. What it gives is to be
// sent in place of what the last Write gave.
func (s *Stream) Abort(err *fault.Error) []byte {
	if !s.over {
		s.fail(err)
	}
	s.frames, s.reader, s.open, s.wrapped = frames{}, frameReader{}, nil, wrapped{}
	return s.out
}

// Held is how many bytes the stream holds on to until the next Write: of a frame that has
// not come whole, room that is used again, and what has to be said again at the end.
func (s *Stream) Held() int64 {
	n := cap(s.frames.held) + cap(s.reader.payload) + cap(s.out) + cap(s.wrapped.held) + s.speaker.held()
	for i := range s.open {
		n += cap(s.open[i].text) + cap(s.open[i].seal)
	}
	return int64(n)
}

// Failed says that an error event was written.
func (s *Stream) Failed() bool { return s.err != nil }

// Err is why the stream failed, for the log; nil if it did not.
func (s *Stream) Err() error { return s.err }

// Done says that the stream was ended, by an error event or without one.
func (s *Stream) Done() bool { return s.over }

// Odd is a stop reason that is not known, for the log. It was told as a normal end.
func (s *Stream) Odd() string { return s.odd }

// Usage is what Bedrock counted; false if it did not say it, or not yet.
func (s *Stream) Usage() (Usage, bool) {
	if s.usage == nil {
		return Usage{}, false
	}
	return *s.usage, true
}

// step takes one frame; false if there is no whole one.
func (s *Stream) step() bool {
	frame, err := s.frames.next()
	if err != nil {
		s.fail(garbage(err.Error()))
		return false
	}
	if frame == nil {
		return false
	}
	e, err := s.reader.read(frame)
	if err != nil {
		s.fail(garbage(err.Error()))
		return false
	}
	if failure := s.take(e); failure != nil {
		s.fail(failure)
	}
	return true
}

func (s *Stream) take(e event) *fault.Error {
	switch e.kind {
	case eventstreamapi.EventMessageType:
		return s.tell(e)
	case eventstreamapi.ExceptionMessageType:
		said := ""
		if validJSON(e.payload) {
			said = firstText(gjson.ParseBytes(e.payload), "message", "Message", "originalMessage")
		}
		failure, _ := refusalOf(e.name, 0, said)
		return failure
	case eventstreamapi.ErrorMessageType:
		failure, _ := refusalOf(e.name, 0, e.message)
		return failure
	default:
		return garbage("a frame does not say what it is")
	}
}

// tell says what an event says. Events that are not known are left out: Bedrock adds
// some, and says in messageStop whether the answer is whole.
func (s *Stream) tell(e event) *fault.Error {
	var on func(*Stream, gjson.Result) *fault.Error
	switch e.name {
	case "messageStart":
		on = (*Stream).messageStart
	case "contentBlockStart":
		on = (*Stream).blockStart
	case "contentBlockDelta":
		on = (*Stream).blockDelta
	case "contentBlockStop":
		on = (*Stream).blockStop
	case "messageStop":
		on = (*Stream).messageStop
	case "metadata":
		on = (*Stream).metadata
	default:
		return nil
	}
	if !validJSON(e.payload) {
		return garbage("the payload of " + e.name + " is not JSON")
	}
	doc := gjson.ParseBytes(e.payload)
	if !doc.IsObject() {
		return garbage("the payload of " + e.name + " is no object")
	}
	return on(s, doc)
}

func (s *Stream) messageStart(gjson.Result) *fault.Error {
	s.begin()
	return nil
}

func (s *Stream) begin() {
	if !s.begun {
		s.begun = true
		s.out = s.speaker.begin(s.out)
	}
}

// messageStop is the end of what the model says. A second one says nothing new.
func (s *Stream) messageStop(doc gjson.Result) *fault.Error {
	reason := doc.Get("stopReason")
	if reason.Type != gjson.String || reason.Str == "" {
		return garbage("messageStop has no stopReason")
	}
	if s.stopped {
		return nil
	}
	s.end, s.odd = endingOf(reason.Str)
	if s.end == malformed {
		return malformedAnswer(reason.Str)
	}
	s.begin()
	for len(s.open) > 0 {
		s.closeBlock(0)
	}
	s.unheld()
	s.out = s.speaker.stop(s.out, s.end, s.called > 0)
	s.stopped = true
	if s.usage != nil { // it came too early, and nothing more is waited for
		s.finish()
	}
	return nil
}

// metadata comes after messageStop, and is then the last that is waited for.
func (s *Stream) metadata(doc gjson.Result) *fault.Error {
	if used := readUsage(doc.Get("usage")); used != nil {
		s.usage = used
	}
	if s.stopped {
		s.finish()
	}
	return nil
}

// ended is the end of Bedrock's answer.
func (s *Stream) ended() {
	switch {
	case s.frames.unfinished():
		s.fail(broken("the stream ended within a frame"))
	case !s.stopped:
		s.fail(broken("the stream ended without messageStop"))
	default:
		s.finish()
	}
}

func broken(why string) *fault.Error {
	return &fault.Error{Op: "bedrock", Kind: fault.UpstreamRefused, Cause: errors.New(why)}
}

func (s *Stream) finish() {
	s.over = true
	s.out = s.speaker.end(s.out, s.usage)
}

func (s *Stream) fail(err *fault.Error) {
	s.over, s.err = true, err
	s.out = s.speaker.fail(s.out, err)
}
