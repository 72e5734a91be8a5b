package bedrock

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/tidwall/gjson"
)

// mostDimensions is far above any model's; it bounds what is made of an answer.
const mostDimensions = 1 << 20

// embeddings is Titan's answer as a list of one embedding.
func embeddings(a Asked, header func(string) string, doc gjson.Result) Reply {
	vector := doc.Get("embedding")
	if !vector.IsArray() {
		vector = doc.Get("embeddingsByType.float")
	}
	numbers, ok := readVector(vector)
	if !ok {
		return failedReply(garbage("there is no embedding"))
	}
	to := []byte(`{"object":"list","data":[{"object":"embedding","index":0,"embedding":`)
	if a.Base64 {
		to = appendBase64(to, numbers)
	} else {
		to = appendFloats(to, numbers)
	}
	to = append(append(to, `}],"model":`...), appendString(nil, a.Model)...)
	used := embeddingUsage(header, doc)
	if used != nil {
		to = appendInt(append(to, `,"usage":{"prompt_tokens":`...), used.Input)
		to = appendInt(append(to, `,"total_tokens":`...), used.Input)
		to = append(to, '}')
	}
	return answeredReply(append(to, '}'), used)
}

// readVector reads an array of numbers, as JSON wrote them. Each must be finite as a
// float32, because that is what the client makes of it.
func readVector(v gjson.Result) (numbers []gjson.Result, ok bool) {
	if !v.IsArray() {
		return nil, false
	}
	v.ForEach(func(_, n gjson.Result) bool {
		ok = n.Type == gjson.Number && math.Abs(n.Num) <= math.MaxFloat32 && len(numbers) < mostDimensions
		numbers = append(numbers, n)
		return ok
	})
	return numbers, ok
}

func appendFloats(to []byte, numbers []gjson.Result) []byte {
	sep := byte('[')
	for _, n := range numbers {
		to = append(append(to, sep), n.Raw...)
		sep = ','
	}
	return append(to, ']')
}

// appendBase64 adds the numbers as OpenAI's base64 form: float32, little-endian.
func appendBase64(to []byte, numbers []gjson.Result) []byte {
	raw := make([]byte, 0, 4*len(numbers))
	for _, n := range numbers {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(n.Num)))
	}
	to = append(to, '"')
	to = base64.StdEncoding.AppendEncode(to, raw)
	return append(to, '"')
}

// embeddingUsage is the count of the body, or else of InvokeModel's header.
func embeddingUsage(header func(string) string, doc gjson.Result) *Usage {
	if n, ok := tokenCount(doc.Get("inputTextTokenCount")); ok {
		return &Usage{Input: n}
	}
	n, err := strconv.ParseUint(header("x-amzn-bedrock-input-token-count"), 10, 31)
	if err != nil || n > mostTokens {
		return nil
	}
	return &Usage{Input: int64(n)}
}
