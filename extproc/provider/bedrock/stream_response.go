package bedrock

import (
	"bytes"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// responseSpeaker writes the events of a response. Every block is an output item, and
// all of them are said again at the end, as OpenAI does.
type responseSpeaker struct {
	stamp

	sequence int64
	items    [][]byte // finished items, by their order
	kept     int      // bytes of them
	late     *streamBlock
	state    responseState
}

func (r *responseSpeaker) begin(to []byte) []byte {
	for _, name := range []string{"response.created", "response.in_progress"} {
		to = r.appendResponse(append(r.event(to, name), `,"response":`...), responseState{})
		to = endEvent(to)
	}
	return to
}

func (r *responseSpeaker) open(to []byte, b *streamBlock) []byte {
	to = r.flush(to, "completed")
	to = appendInt(append(r.event(to, "response.output_item.added"), `,"output_index":`...), int64(b.order))
	to = r.appendItem(append(to, `,"item":`...), b.order, b.answerPart, "in_progress")
	to = endEvent(to)
	if b.kind == callBlock || b.unseen {
		return to
	}
	to = r.place(r.event(to, "response.content_part.added"), b)
	to = appendPart(append(to, `,"part":`...), b.kind, nil)
	return endEvent(to)
}

func (r *responseSpeaker) say(to []byte, b *streamBlock, text string) []byte {
	b.text = append(b.text, text...)
	to = r.place(r.event(to, said(b.kind)+".delta"), b)
	to = append(append(append(to, `,"delta":"`...), text...), '"')
	if b.kind == textBlock {
		to = append(to, `,"logprobs":[]`...)
	}
	return endEvent(to)
}

// said is the name of the events of what a block says.
func said(kind blockKind) string {
	switch kind {
	case callBlock:
		return "response.function_call_arguments"
	case reasoningBlock:
		return "response.reasoning_text"
	default:
		return "response.output_text"
	}
}

// close waits with a block's end for what follows: if it is the last, the answer's end
// says whether it is complete.
func (r *responseSpeaker) close(to []byte, b *streamBlock) []byte {
	to = r.flush(to, "completed")
	late := *b
	r.late = &late
	return to
}

// flush ends the block whose end is late.
func (r *responseSpeaker) flush(to []byte, status string) []byte {
	b := r.late
	if b == nil {
		return to
	}
	r.late = nil
	if !b.unseen {
		to = r.saidAll(to, b)
	}
	to = appendInt(append(r.event(to, "response.output_item.done"), `,"output_index":`...), int64(b.order))
	to = append(to, `,"item":`...)
	start := len(to)
	to = r.appendItem(to, b.order, b.answerPart, status)
	r.keep(b, slices.Clone(to[start:]))
	return endEvent(to)
}

// saidAll says once more, whole, what a block said.
func (r *responseSpeaker) saidAll(to []byte, b *streamBlock) []byte {
	to = r.place(r.event(to, said(b.kind)+".done"), b)
	if b.kind == callBlock {
		to = append(append(to, `,"name":`...), b.name...)
		to = append(append(append(to, `,"arguments":"`...), b.text...), '"')
		return endEvent(to)
	}
	to = append(append(append(to, `,"text":"`...), b.text...), '"')
	if b.kind == textBlock {
		to = append(to, `,"logprobs":[]`...)
	}
	to = r.place(r.event(endEvent(to), "response.content_part.done"), b)
	return endEvent(appendPart(append(to, `,"part":`...), b.kind, b.text))
}

func (r *responseSpeaker) keep(b *streamBlock, item []byte) {
	for len(r.items) <= b.order {
		r.items = append(r.items, nil)
	}
	r.items[b.order] = item
	r.kept += len(item)
	r.state.reasoned = r.state.reasoned || b.reasons()
}

func (r *responseSpeaker) stop(to []byte, end ending, _ bool) []byte {
	r.state.end = end
	return r.flush(to, itemStatus(end))
}

func (r *responseSpeaker) end(to []byte, used *Usage) []byte {
	r.state.usage = used
	r.state.output = bytes.Join(r.items, []byte{','})
	name := "response.completed"
	if r.state.end.incomplete() != "" {
		name = "response.incomplete"
	}
	to = r.appendResponse(append(r.event(to, name), `,"response":`...), r.state)
	return endEvent(to)
}

// fail tells the error as OpenAI's reference has it, and once more as "error": the
// clients made by OpenAI look there to raise it.
func (r *responseSpeaker) fail(to []byte, err error) []byte {
	inside := gjson.GetBytes(fault.OpenAI(err), "error")
	to = r.event(to, "error")
	for _, name := range []string{"code", "message", "param"} {
		to = append(append(append(to, `,"`...), name...), `":`...)
		to = append(to, inside.Get(name).Raw...)
	}
	return endEvent(append(append(to, `,"error":`...), inside.Raw...))
}

func (r *responseSpeaker) held() int {
	if r.late != nil {
		return r.kept + cap(r.late.text) + cap(r.late.seal)
	}
	return r.kept
}

// event begins an event, up to the members that are its own.
func (r *responseSpeaker) event(to []byte, name string) []byte {
	to = append(append(to, "event: "...), name...)
	to = append(append(to, "\ndata: {\"type\":\""...), name...)
	to = appendInt(append(to, `","sequence_number":`...), r.sequence)
	r.sequence++
	return to
}

func endEvent(to []byte) []byte { return append(to, "}\n\n"...) }

// place says which item an event is about, and which part of it.
func (r *responseSpeaker) place(to []byte, b *streamBlock) []byte {
	to = r.appendItemID(append(to, `,"item_id":"`...), b.order, b.kind)
	to = appendInt(append(to, `","output_index":`...), int64(b.order))
	if b.kind != callBlock {
		to = append(to, `,"content_index":0`...)
	}
	return to
}
