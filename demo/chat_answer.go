package demo

import (
	"iter"
	"strings"
)

// chatAnswer is an answer in the form of chat/completions.
type chatAnswer struct {
	id      string
	created int64
	model   string
	choices []chatChoice
	usage   usage
}

type chatChoice struct {
	reply
	callID string
}

func (a chatAnswer) head(kind string) object {
	return object{
		"id": a.id, "object": kind, "created": a.created, "model": a.model,
		"system_fingerprint": "demo", "service_tier": "default",
	}
}

// whole is the answer in one object.
func (a chatAnswer) whole() object {
	choices := make([]object, 0, len(a.choices))
	for i, choice := range a.choices {
		choices = append(choices, object{
			"index": i, "message": choice.message(), "logprobs": nil, "finish_reason": choice.finish,
		})
	}
	out := a.head("chat.completion")
	out["choices"], out["usage"] = choices, a.usage.chat()
	return out
}

func (c chatChoice) message() object {
	text := strings.Join(c.pieces, "")
	if c.tool == "" {
		return object{"role": "assistant", "content": text, "refusal": nil}
	}
	return object{"role": "assistant", "content": nil, "refusal": nil, "tool_calls": []object{{
		"id": c.callID, "type": "function", "function": object{"name": c.tool, "arguments": text},
	}}}
}

// frames is the answer as a stream: all choices begin, grow word by word in turn,
// and end.
func (a chatAnswer) frames(withUsage bool) iter.Seq[frame] {
	chunk := func(choices []object, used any) frame {
		out := a.head("chat.completion.chunk")
		out["choices"] = choices
		if withUsage {
			out["usage"] = used
		}
		return frame{data: encode(out)}
	}
	return func(yield func(frame) bool) {
		for delta := range a.deltas() {
			f := chunk([]object{delta.object()}, nil)
			f.pause = delta.pause
			if !yield(f) {
				return
			}
		}
		if withUsage && !yield(chunk([]object{}, a.usage.chat())) {
			return
		}
		yield(done)
	}
}

// delta is the part of a choice that one chunk brings.
type delta struct {
	index  int
	fields object
	finish any // nil or a string
	pause  bool
}

func (d delta) object() object {
	return object{"index": d.index, "delta": d.fields, "logprobs": nil, "finish_reason": d.finish}
}

func (a chatAnswer) deltas() iter.Seq[delta] {
	return func(yield func(delta) bool) {
		longest := 0
		for i, choice := range a.choices {
			longest = max(longest, len(choice.pieces))
			if !yield(delta{index: i, fields: choice.begin()}) {
				return
			}
		}
		for step := range longest {
			for i, choice := range a.choices {
				if step >= len(choice.pieces) {
					continue
				}
				if !yield(delta{index: i, fields: choice.say(choice.pieces[step]), pause: i == 0}) {
					return
				}
			}
		}
		for i, choice := range a.choices {
			if !yield(delta{index: i, fields: object{}, finish: choice.finish}) {
				return
			}
		}
	}
}

// begin is the first delta of a choice.
func (c chatChoice) begin() object {
	if c.tool == "" {
		return object{"role": "assistant", "content": "", "refusal": nil}
	}
	return object{"role": "assistant", "content": nil, "tool_calls": []object{{
		"index": 0, "id": c.callID, "type": "function", "function": object{"name": c.tool, "arguments": ""},
	}}}
}

// say is a delta with one more piece.
func (c chatChoice) say(piece string) object {
	if c.tool == "" {
		return object{"content": piece}
	}
	return object{"tool_calls": []object{{"index": 0, "function": object{"arguments": piece}}}}
}
