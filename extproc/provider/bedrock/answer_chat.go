package bedrock

// chat is the turn as a chat.completion. The model's reasoning is reasoning_content, as
// other servers of open models name it. Where it is signed, it is thinking_blocks as
// well, in the form of Anthropic's API: Claude wants them back, unchanged, while a tool
// is in use.
func (t *turn) chat(s stamp) []byte {
	called := t.called()
	to := s.head(nil, "chatcmpl-", "chat.completion")
	to = append(to, `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
	if called && !t.has(textBlock) {
		to = append(to, "null"...)
	} else {
		to = t.appendJoined(to, textBlock)
	}
	to = append(to, `,"refusal":null`...)
	if t.has(reasoningBlock) {
		to = t.appendJoined(append(to, `,"reasoning_content":`...), reasoningBlock)
	}
	to = t.appendThoughts(to)
	if called {
		to = t.appendCalls(append(to, `,"tool_calls":`...))
	}
	to = append(to, `},"logprobs":null,"finish_reason":"`...)
	to = append(append(to, t.end.finish(called)...), `"}]`...)
	return t.tail(to)
}

func (t *turn) appendThoughts(to []byte) []byte {
	start := `,"thinking_blocks":[`
	for _, p := range t.parts {
		if len(p.seal) > 0 {
			to = appendThought(append(to, start...), p)
			start = ","
		}
	}
	if start == "," {
		to = append(to, ']')
	}
	return to
}

func appendThought(to []byte, p answerPart) []byte {
	if p.kind == sealedBlock {
		to = append(append(to, `{"type":"redacted_thinking","data":"`...), p.seal...)
		return append(to, `"}`...)
	}
	to = append(append(to, `{"type":"thinking","thinking":"`...), p.text...)
	to = append(append(to, `","signature":"`...), p.seal...)
	return append(to, `"}`...)
}

func (t *turn) appendCalls(to []byte) []byte {
	sep := byte('[')
	for _, p := range t.parts {
		if p.kind != callBlock {
			continue
		}
		to = append(to, sep)
		to = append(append(to, `{"id":`...), p.id...)
		to = append(append(to, `,"type":"function","function":{"name":`...), p.name...)
		to = append(append(to, `,"arguments":"`...), p.text...)
		to = append(to, `"}}`...)
		sep = ','
	}
	return append(to, ']')
}

// completion is the turn as a text_completion. It has no place for reasoning.
func (t *turn) completion(s stamp) []byte {
	to := s.head(nil, "cmpl-", "text_completion")
	to = t.appendJoined(append(to, `,"choices":[{"text":`...), textBlock)
	to = append(to, `,"index":0,"logprobs":null,"finish_reason":"`...)
	to = append(append(to, t.end.finish(false)...), `"}]`...)
	return t.tail(to)
}

// head is the beginning of an object of chat or completions.
func (s stamp) head(to []byte, prefix, object string) []byte {
	to = append(append(append(to, `{"id":"`...), prefix...), s.id...)
	to = append(append(append(to, `","object":"`...), object...), `","created":`...)
	to = append(appendInt(to, s.created), `,"model":`...)
	return append(to, s.model...)
}

// tail is their end. Without Bedrock's numbers there is no usage: no zeros are made up.
func (t *turn) tail(to []byte) []byte {
	if t.usage != nil {
		to = appendUsage(append(to, `,"usage":`...), *t.usage)
	}
	return append(to, '}')
}
