package bedrock

import (
	"math"
	"strconv"

	"github.com/tidwall/gjson"
)

// Usage is the tokens of a request as Bedrock counts them: what was read from a cache
// or written to it is not part of Input. OpenAI's prompt_tokens has all three.
type Usage struct {
	Input, Output         int64
	CacheRead, CacheWrite int64
	Cache                 bool // Bedrock spoke of a cache at all
}

// Prompt is all of the request's tokens, as OpenAI counts them.
func (u Usage) Prompt() int64 { return u.Input + u.CacheRead + u.CacheWrite }

// Total is the prompt's and the answer's tokens. It is not Bedrock's totalTokens, which
// has differed between models in whether the cache is part of it.
func (u Usage) Total() int64 { return u.Prompt() + u.Output }

// mostTokens is more than any request can have: a number above it is a mistake.
const mostTokens = 1e9

// readUsage reads Converse's usage object; nil if what is charged does not stand there.
func readUsage(v gjson.Result) *Usage {
	in, ok := tokenCount(v.Get("inputTokens"))
	out, okOut := tokenCount(v.Get("outputTokens"))
	if !ok || !okOut {
		return nil
	}
	u := &Usage{Input: in, Output: out}
	read, okRead := tokenCount(v.Get("cacheReadInputTokens"))
	write, okWrite := tokenCount(v.Get("cacheWriteInputTokens"))
	u.CacheRead, u.CacheWrite, u.Cache = read, write, okRead || okWrite
	return u
}

func tokenCount(v gjson.Result) (int64, bool) {
	if v.Type != gjson.Number || v.Num < 0 || v.Num > mostTokens || v.Num != math.Trunc(v.Num) {
		return 0, false
	}
	return int64(v.Num), true
}

// appendUsage adds the usage object of chat and of completions.
func appendUsage(to []byte, u Usage) []byte {
	to = appendInt(append(to, `{"prompt_tokens":`...), u.Prompt())
	to = appendInt(append(to, `,"completion_tokens":`...), u.Output)
	to = appendInt(append(to, `,"total_tokens":`...), u.Total())
	if u.Cache {
		to = appendInt(append(to, `,"prompt_tokens_details":{"cached_tokens":`...), u.CacheRead)
		to = appendInt(append(to, `,"cache_write_tokens":`...), u.CacheWrite)
		to = append(to, '}')
	}
	return append(to, '}')
}

// appendResponseUsage adds the usage object of a response. Its details must be there in
// OpenAI's form; Bedrock does not count reasoning apart, so that number is only written
// where there was no reasoning.
func appendResponseUsage(to []byte, u Usage, reasoned bool) []byte {
	to = appendInt(append(to, `{"input_tokens":`...), u.Prompt())
	to = appendInt(append(to, `,"input_tokens_details":{"cached_tokens":`...), u.CacheRead)
	to = appendInt(append(to, `,"cache_write_tokens":`...), u.CacheWrite)
	to = appendInt(append(to, `},"output_tokens":`...), u.Output)
	to = append(to, `,"output_tokens_details":{`...)
	if !reasoned {
		to = append(to, `"reasoning_tokens":0`...)
	}
	to = appendInt(append(to, `},"total_tokens":`...), u.Total())
	return append(to, '}')
}

func appendInt(to []byte, n int64) []byte { return strconv.AppendInt(to, n, 10) }
