package bedrock_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"strings"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/respjson"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/parity"
)

// ask sends a request, and gives the facts of its answer (parity.Facts) and, of chat, the
// message to send back.
func (a asker) ask(path, way string, request map[string]any) (facts parity.Facts, message map[string]any, err error) {
	if way == "stream" {
		request["stream"] = true
	}
	raw, err := json.Marshal(request)
	if err != nil {
		return nil, nil, err
	}
	switch path + " " + way {
	case "chat plain":
		facts, message, err = a.chat(raw)
	case "chat stream":
		facts, message, err = a.chatStream(raw)
	case "completions plain":
		facts, err = a.completion(raw)
	case "completions stream":
		facts, err = a.completionStream(raw)
	case "responses plain":
		facts, err = a.response(raw)
	case "responses stream":
		facts, err = a.responseStream(raw)
	default:
		facts, err = a.embeddings(raw)
	}
	if err != nil {
		return nil, nil, err
	}
	if text := facts["content"]; text == nil {
		addJSON(facts, facts["text"])
	} else {
		addJSON(facts, text)
	}
	facts, err = parity.Plainly(facts)
	return facts, message, err
}

func addJSON(facts parity.Facts, text any) {
	if said, ok := text.(string); ok && gjson.Valid(said) {
		facts["json"] = json.RawMessage(said)
	}
}

// spoken is a message of chat, whole or put together from a stream.
type spoken struct {
	role, content, reasoning string
	calls                    []calledTool
	thoughts                 []json.RawMessage
}

type calledTool struct{ id, name, arguments string }

func (s *spoken) facts() parity.Facts {
	calls, ids := []any{}, map[string]bool{}
	for _, c := range s.calls {
		calls = append(calls, parity.Facts{"name": c.name, "arguments": json.RawMessage(c.arguments)})
		if c.id != "" {
			ids[c.id] = true
		}
	}
	return parity.Facts{"role": s.role, "content": s.content, "reasoning": s.reasoning, "calls": calls, "call_ids": len(ids)}
}

// message is it as it is sent back.
func (s *spoken) message() map[string]any {
	m := map[string]any{"role": s.role, "content": s.content}
	var calls []any
	for _, c := range s.calls {
		calls = append(calls, map[string]any{"id": c.id, "type": "function", "function": map[string]any{"name": c.name, "arguments": c.arguments}})
	}
	if calls != nil {
		m["tool_calls"] = calls
	}
	if s.thoughts != nil {
		m["thinking_blocks"] = s.thoughts
	}
	return m
}

// extra takes what OpenAI's own form does not have.
func (s *spoken) extra(fields map[string]respjson.Field) {
	if f, ok := fields["reasoning_content"]; ok {
		s.reasoning += gjson.Parse(f.Raw()).String()
	}
	if f, ok := fields["thinking_blocks"]; ok {
		gjson.Parse(f.Raw()).ForEach(func(_, v gjson.Result) bool {
			s.thoughts = append(s.thoughts, json.RawMessage(v.Raw))
			return true
		})
	}
}

func usageOf(raw string, names ...string) any {
	if raw == "" || raw == "null" {
		return nil
	}
	var all []int64
	for _, name := range names {
		all = append(all, gjson.Get(raw, name).Int())
	}
	return all
}

var chatUsage = []string{"prompt_tokens", "completion_tokens", "total_tokens"}

func (a asker) chat(raw []byte) (parity.Facts, map[string]any, error) {
	answer, err := a.client.Chat.Completions.New(a.Context(), param.Override[sdk.ChatCompletionNewParams](json.RawMessage(raw)))
	if err != nil {
		return nil, nil, err
	}
	m := answer.Choices[0].Message
	s := spoken{role: string(m.Role), content: m.Content}
	s.extra(m.JSON.ExtraFields)
	for _, c := range m.ToolCalls {
		s.calls = append(s.calls, calledTool{c.ID, c.Function.Name, c.Function.Arguments})
	}
	facts := s.facts()
	facts["object"], facts["id"], facts["model"] = string(answer.Object), answer.ID, answer.Model
	facts["choices"], facts["finish_reason"] = len(answer.Choices), answer.Choices[0].FinishReason
	facts["usage"] = usageOf(answer.JSON.Usage.Raw(), chatUsage...)
	return facts, s.message(), nil
}

// running is what is counted of the chunks of a stream.
type running struct {
	facts            parity.Facts
	ids              map[string]bool
	chunks, finishes int
}

func newRunning() running {
	return running{parity.Facts{"usage": nil, "usage_last": false, "choices": 0, "finish_reason": ""}, map[string]bool{}, 0, 0}
}

func (r *running) add(id, object, model, usage string, choices int, reason string) {
	r.chunks++
	r.ids[id] = true
	r.facts["id"], r.facts["object"], r.facts["model"] = id, object, model
	r.facts["choices"] = max(r.facts["choices"].(int), choices)
	if reason != "" {
		r.finishes++
		r.facts["finish_reason"] = reason
	}
	used := usageOf(usage, chatUsage...)
	r.facts["usage_last"] = used != nil && choices == 0 && r.facts["usage"] == nil
	if used != nil {
		r.facts["usage"] = used
	}
}

func (r *running) end(more parity.Facts) parity.Facts {
	maps.Copy(r.facts, more)
	r.facts["chunks"], r.facts["ids"], r.facts["finishes"] = r.chunks, len(r.ids), r.finishes
	return r.facts
}

// each reads a stream to its end.
func each[T any](stream *ssestream.Stream[T], take func(T)) error {
	for stream.Next() {
		take(stream.Current())
	}
	if err := stream.Err(); err != nil {
		return err
	}
	return stream.Close()
}

func (a asker) chatStream(raw []byte) (parity.Facts, map[string]any, error) {
	var s spoken
	r := newRunning()
	err := each(a.client.Chat.Completions.NewStreaming(a.Context(), param.Override[sdk.ChatCompletionNewParams](json.RawMessage(raw))), func(c sdk.ChatCompletionChunk) {
		reason := ""
		for _, choice := range c.Choices {
			reason = choice.FinishReason
			s.take(choice.Delta)
		}
		r.add(c.ID, string(c.Object), c.Model, c.JSON.Usage.Raw(), len(c.Choices), reason)
	})
	return r.end(s.facts()), s.message(), err
}

func (s *spoken) take(delta sdk.ChatCompletionChunkChoiceDelta) {
	s.role += delta.Role
	s.content += delta.Content
	s.extra(delta.JSON.ExtraFields)
	for _, c := range delta.ToolCalls {
		for int(c.Index) >= len(s.calls) {
			s.calls = append(s.calls, calledTool{})
		}
		call := &s.calls[c.Index]
		call.id += c.ID
		call.name += c.Function.Name
		call.arguments += c.Function.Arguments
	}
}

func (a asker) completion(raw []byte) (parity.Facts, error) {
	answer, err := a.client.Completions.New(a.Context(), param.Override[sdk.CompletionNewParams](json.RawMessage(raw)))
	if err != nil {
		return nil, err
	}
	return parity.Facts{
		"object": string(answer.Object), "id": answer.ID, "model": answer.Model, "choices": len(answer.Choices),
		"text": answer.Choices[0].Text, "finish_reason": string(answer.Choices[0].FinishReason),
		"usage": usageOf(answer.JSON.Usage.Raw(), chatUsage...),
	}, nil
}

func (a asker) completionStream(raw []byte) (parity.Facts, error) {
	r, text := newRunning(), ""
	err := each(a.client.Completions.NewStreaming(a.Context(), param.Override[sdk.CompletionNewParams](json.RawMessage(raw))), func(c sdk.Completion) {
		reason := ""
		for _, choice := range c.Choices {
			reason = string(choice.FinishReason)
			text += choice.Text
		}
		r.add(c.ID, string(c.Object), c.Model, c.JSON.Usage.Raw(), len(c.Choices), reason)
	})
	return r.end(parity.Facts{"text": text}), err
}

func (a asker) response(raw []byte) (parity.Facts, error) {
	answer, err := a.client.Responses.New(a.Context(), param.Override[responses.ResponseNewParams](json.RawMessage(raw)))
	if err != nil {
		return nil, err
	}
	return responseFacts(*answer), nil
}

func responseFacts(answer responses.Response) parity.Facts {
	var s spoken
	for _, item := range answer.Output {
		if item.Type == "function_call" {
			call := item.AsFunctionCall()
			s.calls = append(s.calls, calledTool{call.CallID, call.Name, call.Arguments})
		}
	}
	facts := s.facts()
	delete(facts, "content")
	facts["object"], facts["id"], facts["model"] = string(answer.Object), answer.ID, answer.Model
	facts["text"], facts["status"] = answer.OutputText(), string(answer.Status)
	facts["usage"] = usageOf(answer.JSON.Usage.Raw(), "input_tokens", "output_tokens", "total_tokens")
	return facts
}

func (a asker) responseStream(raw []byte) (parity.Facts, error) {
	text, arguments, last, next, ordered := "", "", responses.ResponseStreamEventUnion{}, int64(0), true
	err := each(a.client.Responses.NewStreaming(a.Context(), param.Override[responses.ResponseNewParams](json.RawMessage(raw))), func(e responses.ResponseStreamEventUnion) {
		ordered = ordered && e.SequenceNumber == next
		next++
		switch e.Type {
		case "response.output_text.delta":
			text += e.Delta
		case "response.function_call_arguments.delta":
			arguments += e.Delta
		}
		last = e
	})
	if err != nil {
		return nil, err
	}
	facts := responseFacts(last.Response)
	whole := ""
	for _, item := range last.Response.Output {
		whole += item.Arguments.OfString
	}
	facts["ordered"], facts["ended"] = ordered, strings.HasPrefix(last.Type, "response.") && strings.TrimPrefix(last.Type, "response.") == facts["status"]
	facts["pieces_agree"] = text == facts["text"] && arguments == whole
	return facts, nil
}

func (a asker) embeddings(raw []byte) (parity.Facts, error) {
	answer, err := a.client.Embeddings.New(a.Context(), param.Override[sdk.EmbeddingNewParams](json.RawMessage(raw)))
	if err != nil {
		return nil, err
	}
	facts := parity.Facts{"object": string(answer.Object), "model": answer.Model, "count": len(answer.Data), "usage": usageOf(answer.JSON.Usage.Raw(), "prompt_tokens", "total_tokens")}
	lengths := []int{}
	for i, one := range answer.Data {
		vector := numbers(gjson.Get(one.RawJSON(), "embedding"))
		lengths = append(lengths, len(vector))
		if i == 0 {
			facts["first"] = vector[:min(3, len(vector))]
		}
	}
	facts["lengths"] = lengths
	return facts, nil
}

// numbers are those of a list, or of 32-bit floats in base64; to four digits.
func numbers(v gjson.Result) []float64 {
	var all []float64
	if v.Type == gjson.String {
		packed, _ := base64.StdEncoding.DecodeString(v.Str) // what is none has no numbers
		floats := make([]float32, len(packed)/4)
		_ = binary.Read(bytes.NewReader(packed), binary.LittleEndian, floats)
		for _, f := range floats {
			all = append(all, math.Round(float64(f)*1e4)/1e4)
		}
		return all
	}
	for _, f := range v.Array() {
		all = append(all, math.Round(f.Num*1e4)/1e4)
	}
	return all
}
