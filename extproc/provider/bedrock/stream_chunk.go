package bedrock

import "github.com/postern-proxy/postern/fault"

// chunkSpeaker writes the chunks of chat and of completions. What is alike in all of
// them is made once.
type chunkSpeaker struct {
	chat  bool
	usage bool
	head  []byte // data: {"id":…,"object":…,"created":…,"model":…
	tail  string // what ends a chunk that is not the usage's
}

const (
	chunkEnd     = "}\n\n"
	chunkEndNull = `,"usage":null` + chunkEnd
)

func newChunkSpeaker(a Asked, s stamp, prefix, object string) *chunkSpeaker {
	c := &chunkSpeaker{
		chat: a.Form != Completions, usage: a.IncludeUsage,
		head: s.head([]byte("data: "), prefix, object), tail: chunkEnd,
	}
	if a.IncludeUsage {
		c.tail = chunkEndNull
	}
	return c
}

// begin tells the role: clients start a message by it, and some fail without it.
func (c *chunkSpeaker) begin(to []byte) []byte {
	if !c.chat {
		return to
	}
	to = append(c.delta(to), `"role":"assistant","content":"","refusal":null`...)
	return c.endDelta(to)
}

// open tells a call's id and name. Its index counts calls, not blocks.
func (c *chunkSpeaker) open(to []byte, b *streamBlock) []byte {
	if b.kind != callBlock || !c.chat {
		return to
	}
	to = appendInt(append(c.delta(to), `"tool_calls":[{"index":`...), int64(b.call))
	to = append(append(to, `,"id":`...), b.id...)
	to = append(append(to, `,"type":"function","function":{"name":`...), b.name...)
	return c.endDelta(append(to, `,"arguments":""}}]`...))
}

func (c *chunkSpeaker) say(to []byte, b *streamBlock, text string) []byte {
	if !c.chat {
		if b.kind != textBlock { // a completion has no place for reasoning
			return to
		}
		to = append(append(to, c.head...), `,"choices":[{"text":"`...)
		to = append(append(to, text...), `","index":0,"logprobs":null,"finish_reason":null}]`...)
		return append(to, c.tail...)
	}
	to = c.delta(to)
	switch b.kind {
	case callBlock:
		to = appendInt(append(to, `"tool_calls":[{"index":`...), int64(b.call))
		to = append(append(to, `,"function":{"arguments":"`...), text...)
		return c.endDelta(append(to, `"}}]`...))
	case reasoningBlock:
		b.text = append(b.text, text...)
		to = append(to, `"reasoning_content":"`...)
	default:
		to = append(to, `"content":"`...)
	}
	return c.endDelta(append(append(to, text...), '"'))
}

// close tells signed reasoning once more, whole: so it is to be sent back.
func (c *chunkSpeaker) close(to []byte, b *streamBlock) []byte {
	if len(b.seal) == 0 || !c.chat {
		return to
	}
	to = appendThought(append(c.delta(to), `"thinking_blocks":[`...), b.answerPart)
	return c.endDelta(append(to, ']'))
}

func (c *chunkSpeaker) stop(to []byte, end ending, called bool) []byte {
	to = append(to, c.head...)
	if c.chat {
		to = append(to, `,"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"`...)
	} else {
		to = append(to, `,"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"`...)
	}
	to = append(append(to, end.finish(called)...), `"}]`...)
	return append(to, c.tail...)
}

// end tells the usage, if the client asked for it and Bedrock said it, and the end.
func (c *chunkSpeaker) end(to []byte, used *Usage) []byte {
	if c.usage && used != nil {
		to = append(append(to, c.head...), `,"choices":[],"usage":`...)
		to = append(appendUsage(to, *used), chunkEnd...)
	}
	return append(to, "data: [DONE]\n\n"...)
}

func (c *chunkSpeaker) fail(to []byte, err error) []byte {
	to = append(append(to, "data: "...), fault.OpenAI(err)...)
	return append(to, "\n\n"...)
}

func (*chunkSpeaker) held() int { return 0 }

// delta begins a chunk of chat, up to the delta's first member.
func (c *chunkSpeaker) delta(to []byte) []byte {
	return append(append(to, c.head...), `,"choices":[{"index":0,"delta":{`...)
}

// endDelta ends a chunk of chat, from the delta's last member.
func (c *chunkSpeaker) endDelta(to []byte) []byte {
	return append(append(to, `},"logprobs":null,"finish_reason":null}]`...), c.tail...)
}
