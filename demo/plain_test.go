package demo_test

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

const (
	completionsPath = "/v1/completions"
	embeddingsPath  = "/v1/embeddings"
)

func TestCompletionsThroughTheSDK(t *testing.T) {
	client := sdk(t)
	params := openai.CompletionNewParams{Model: "demo", N: param.NewOpt[int64](2), Prompt: openai.CompletionNewParamsPromptUnion{
		OfArrayOfStrings: []string{"once upon", "a time"},
	}}
	plain, err := client.Completions.New(within(t), params)
	require.NoError(t, err)
	require.Len(t, plain.Choices, 4)
	assert.Contains(t, plain.Choices[0].Text, "once upon")
	assert.Contains(t, plain.Choices[3].Text, "a time")
	assert.EqualValues(t, 4, plain.Usage.PromptTokens)

	params.StreamOptions.IncludeUsage = param.NewOpt(true)
	events := client.Completions.NewStreaming(within(t), params)
	texts := make([]string, 4)
	var last openai.Completion
	for events.Next() {
		last = events.Current()
		for _, choice := range last.Choices {
			texts[choice.Index] += choice.Text
		}
	}
	require.NoError(t, events.Err())
	for i, choice := range plain.Choices {
		assert.Equal(t, choice.Text, texts[i])
		assert.EqualValues(t, "stop", choice.FinishReason)
	}
	assert.Empty(t, last.Choices)
	assert.Equal(t, plain.Usage.TotalTokens, last.Usage.TotalTokens)
}

func TestCompletionOfTokensAndALimit(t *testing.T) {
	answer := ask(t, completionsPath, `{"model":"m","prompt":[1,2,3],"max_tokens":2}`)
	assert.EqualValues(t, 3, answer.Get("usage.prompt_tokens").Int())
	assert.Equal(t, "length", answer.Get("choices.0.finish_reason").Str)
	chunks := listen(t, completionsPath, `{"model":"m","prompt":"x","stream":true,"max_tokens":2}`)
	assert.Equal(t, "You said:", joined(chunks, "choices.0.text"))
	assert.Equal(t, "length", gjson.Get(chunks[len(chunks)-2], "choices.0.finish_reason").Str)
	assert.Equal(t, "[DONE]", chunks[len(chunks)-1])
}

func embed(t *testing.T, input string) []gjson.Result {
	t.Helper()
	return ask(t, embeddingsPath, `{"model":"m","input":`+input+`}`).Get("data").Array()
}

func TestEmbeddingsThroughTheSDK(t *testing.T) {
	client := sdk(t)
	params := openai.EmbeddingNewParams{Model: "demo", Input: openai.EmbeddingNewParamsInputUnion{
		OfArrayOfStrings: []string{"red shoes", "blue hat"},
	}}
	answer, err := client.Embeddings.New(within(t), params)
	require.NoError(t, err)
	require.Len(t, answer.Data, 2)
	for i, one := range answer.Data {
		assert.EqualValues(t, i, one.Index)
		assert.Len(t, one.Embedding, 256)
		assert.InDelta(t, 1, dot(one.Embedding, one.Embedding), 1e-6)
	}
	assert.EqualValues(t, 4, answer.Usage.TotalTokens)

	params.Dimensions = param.NewOpt[int64](12)
	answer, err = client.Embeddings.New(within(t), params)
	require.NoError(t, err)
	assert.Len(t, answer.Data[0].Embedding, 12)
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func floats(values []gjson.Result) []float64 {
	var out []float64
	for _, value := range values {
		out = append(out, value.Num)
	}
	return out
}

func TestBase64HoldsTheSameFloats(t *testing.T) {
	plain := embed(t, `"red shoes"`)[0].Get("embedding").Array()
	text := ask(t, embeddingsPath, `{"model":"m","input":"red shoes","encoding_format":"base64"}`).Get("data.0.embedding").Str
	raw, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	require.Len(t, raw, 4*len(plain))
	for i, value := range plain {
		require.Equal(t, math.Float32bits(float32(value.Num)), binary.LittleEndian.Uint32(raw[4*i:]))
	}
}

func TestTextsThatShareWordsLieNear(t *testing.T) {
	var vectors [][]float64
	for _, one := range embed(t, `["red running shoes","Shoes, running: red!","red shoes","the price of tea in China"]`) {
		vectors = append(vectors, floats(one.Get("embedding").Array()))
	}
	assert.InDelta(t, 1, dot(vectors[0], vectors[1]), 1e-6)
	near, far := dot(vectors[0], vectors[2]), dot(vectors[0], vectors[3])
	assert.Greater(t, near, 0.6)
	assert.Less(t, math.Abs(far), 0.4)
	again := floats(embed(t, `"red shoes"`)[0].Get("embedding").Array())
	assert.Equal(t, vectors[2], again)
}

func TestEmbeddingsTakeEveryFormOfInput(t *testing.T) {
	assert.Len(t, embed(t, `[1,2,3]`), 1)
	assert.Len(t, embed(t, `[[1,2],[3]]`), 2)
	one := embed(t, `"?!"`)[0].Get("embedding").Array()
	assert.InDelta(t, 1, dot(floats(one), floats(one)), 1e-6, "a text without words is a unit vector too")
	for _, size := range []string{"1", "2", "3072"} {
		answer := ask(t, embeddingsPath, `{"model":"m","input":"`+strings.Repeat("word other ", 50)+`","dimensions":`+size+`}`)
		vector := floats(answer.Get("data.0.embedding").Array())
		assert.InDelta(t, 1, dot(vector, vector), 1e-5)
	}
}
