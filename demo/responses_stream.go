package demo

import (
	"iter"
	"slices"
)

// frames is the response as its sequence of events, numbered from 0.
func (a response) frames() iter.Seq[frame] {
	return func(yield func(frame) bool) {
		number := 0
		for event := range a.events() {
			event.fields["type"], event.fields["sequence_number"] = event.name, number
			number++
			if !yield(frame{event: event.name, data: encode(event.fields), pause: event.pause}) {
				return
			}
		}
	}
}

// event is one event of the stream, without its type and number.
type event struct {
	name   string
	fields object
	pause  bool
}

// events is the life of a response: created, one item that begins, grows and ends,
// completed.
func (a response) events() iter.Seq[event] {
	content := a.message
	if a.reply.tool != "" {
		content = a.call
	}
	return func(yield func(event) bool) {
		begun := a.with("in_progress", []object{}, nil)
		opening := []event{
			{name: "response.created", fields: object{"response": begun}},
			{name: "response.in_progress", fields: object{"response": begun}},
			{name: "response.output_item.added", fields: object{"output_index": 0, "item": a.item("in_progress", "")}},
		}
		closing := []event{
			{name: "response.output_item.done", fields: object{"output_index": 0, "item": a.item(a.status(), a.text())}},
			{name: "response." + a.status(), fields: object{"response": a.finished()}},
		}
		for _, part := range []iter.Seq[event]{slices.Values(opening), content(), slices.Values(closing)} {
			for e := range part {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// message is how the text of a message grows.
func (a response) message() iter.Seq[event] {
	return func(yield func(event) bool) {
		if !yield(event{name: "response.content_part.added", fields: a.place(object{"content_index": 0, "part": part("")})}) {
			return
		}
		for _, piece := range a.reply.pieces {
			fields := a.place(object{"content_index": 0, "delta": piece, "logprobs": []any{}})
			if !yield(event{name: "response.output_text.delta", fields: fields, pause: true}) {
				return
			}
		}
		fields := a.place(object{"content_index": 0, "text": a.text(), "logprobs": []any{}})
		if !yield(event{name: "response.output_text.done", fields: fields}) {
			return
		}
		yield(event{name: "response.content_part.done", fields: a.place(object{"content_index": 0, "part": part(a.text())})})
	}
}

// call is how the arguments of a function call grow.
func (a response) call() iter.Seq[event] {
	return func(yield func(event) bool) {
		for _, piece := range a.reply.pieces {
			fields := a.place(object{"delta": piece})
			if !yield(event{name: "response.function_call_arguments.delta", fields: fields, pause: true}) {
				return
			}
		}
		fields := a.place(object{"name": a.reply.tool, "arguments": a.text()})
		yield(event{name: "response.function_call_arguments.done", fields: fields})
	}
}

// place says which item an event is about.
func (a response) place(fields object) object {
	fields["item_id"], fields["output_index"] = a.itemID, 0
	return fields
}
