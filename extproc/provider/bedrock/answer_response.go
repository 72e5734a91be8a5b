package bedrock

import "slices"

// response is the turn as a response: every block is an output item.
func (t *turn) response(s stamp) []byte {
	var output []byte
	for i, p := range t.parts {
		if i > 0 {
			output = append(output, ',')
		}
		status := "completed"
		if i == len(t.parts)-1 {
			status = itemStatus(t.end)
		}
		output = s.appendItem(output, i, p, status)
	}
	return s.appendResponse(nil, responseState{
		end: t.end, output: output, usage: t.usage, reasoned: slices.ContainsFunc(t.parts, answerPart.reasons),
	})
}

func itemStatus(end ending) string {
	if end.incomplete() != "" {
		return "incomplete"
	}
	return "completed"
}

// responseState is what a response says of itself at one moment. The zero value is one
// in progress.
type responseState struct {
	end      ending
	output   []byte // the items, with commas
	usage    *Usage
	reasoned bool
}

// appendResponse adds a response object. The request's own settings are not echoed:
// the answer's side does not know them, and fields that must be there have what OpenAI
// says when they were not set.
func (s stamp) appendResponse(to []byte, r responseState) []byte {
	to = append(append(to, `{"id":"resp_`...), s.id...)
	to = appendInt(append(to, `","object":"response","created_at":`...), s.created)
	to = append(to, `,"status":"`...)
	reason := r.end.incomplete()
	switch {
	case r.end == 0:
		to = append(to, `in_progress"`...)
	case reason != "":
		to = append(to, `incomplete"`...)
	default:
		to = append(to, `completed"`...)
	}
	to = append(to, `,"background":false,"error":null,"incomplete_details":`...)
	if reason != "" {
		to = append(append(append(to, `{"reason":"`...), reason...), `"}`...)
	} else {
		to = append(to, "null"...)
	}
	to = append(append(to, `,"instructions":null,"max_output_tokens":null,"metadata":{},"model":`...), s.model...)
	to = append(append(to, `,"output":[`...), r.output...)
	to = append(to, `],"parallel_tool_calls":true,"previous_response_id":null,"store":false,"temperature":null,`+
		`"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"truncation":"disabled","usage":`...)
	if r.usage != nil {
		to = appendResponseUsage(to, *r.usage, r.reasoned)
	} else {
		to = append(to, "null"...)
	}
	return append(to, '}')
}

// appendItemID adds an output item's id: made of the request's, so that none repeats.
func (s stamp) appendItemID(to []byte, index int, kind blockKind) []byte {
	switch kind {
	case callBlock:
		to = append(to, "fc_"...)
	case reasoningBlock, sealedBlock:
		to = append(to, "rs_"...)
	default:
		to = append(to, "msg_"...)
	}
	to = append(append(to, s.id...), '_')
	return appendInt(to, int64(index))
}

// appendItem adds an output item. One that has just begun has the status in_progress
// and no content yet.
func (s stamp) appendItem(to []byte, index int, p answerPart, status string) []byte {
	to = s.appendItemID(append(to, `{"id":"`...), index, p.kind)
	begun := status == "in_progress"
	switch p.kind {
	case reasoningBlock, sealedBlock:
		to = append(to, `","type":"reasoning","summary":[],"content":[`...)
		if !begun && len(p.text) > 0 {
			to = appendPart(to, p.kind, p.text)
		}
		to = append(to, ']')
		if !begun && len(p.seal) > 0 {
			to = append(appendSeal(append(to, `,"encrypted_content":"`...), p), '"')
		}
	case callBlock:
		to = append(append(to, `","type":"function_call","call_id":`...), p.id...)
		to = append(append(to, `,"name":`...), p.name...)
		to = append(append(append(to, `,"arguments":"`...), p.text...), '"')
	default:
		to = append(to, `","type":"message","role":"assistant","content":[`...)
		if !begun {
			to = appendPart(to, p.kind, p.text)
		}
		to = append(to, ']')
	}
	return append(append(append(to, `,"status":"`...), status...), `"}`...)
}

// appendPart adds the part of content that a message's or reasoning's item has.
func appendPart(to []byte, kind blockKind, text []byte) []byte {
	if kind == reasoningBlock {
		return append(append(append(to, `{"type":"reasoning_text","text":"`...), text...), `"}`...)
	}
	to = append(append(append(to, `{"type":"output_text","text":"`...), text...), '"')
	return append(to, `,"annotations":[],"logprobs":[]}`...)
}
