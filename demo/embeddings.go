package demo

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"math"
	"net/http"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"
)

const (
	defaultDimensions = 256
	maxDimensions     = 3072
	// placesPerWord is in how many dimensions one word shows.
	placesPerWord = 8
)

// embeddings answers POST /v1/embeddings.
func (m *Model) embeddings(w http.ResponseWriter, _ *http.Request, body gjson.Result) error {
	model, err := modelField(body)
	if err != nil {
		return err
	}
	texts, err := readTexts(body, "input")
	if err != nil {
		return err
	}
	dimensions, err := intField(body, "dimensions", maxDimensions, defaultDimensions)
	if err != nil {
		return err
	}
	encoding, err := readEncoding(body)
	if err != nil {
		return err
	}
	words, list := 0, make([]object, 0, len(texts))
	for i, text := range texts {
		if text == "" {
			return invalid("input", "A text in 'input' must not be empty.")
		}
		words += count(text)
		list = append(list, object{"object": "embedding", "index": i, "embedding": encoding(vector(text, dimensions))})
	}
	writeJSON(w, http.StatusOK, encode(object{
		"object": "list", "model": model, "data": list,
		"usage": object{"prompt_tokens": words, "total_tokens": words},
	}))
	return nil
}

func readEncoding(body gjson.Result) (func([]float32) any, error) {
	value := body.Get("encoding_format")
	switch {
	case missing(value), value.Str == "float":
		return func(v []float32) any { return v }, nil
	case value.Str == "base64":
		return func(v []float32) any { return base64Of(v) }, nil
	}
	return nil, invalid("encoding_format", "The field 'encoding_format' must be float or base64.")
}

// base64Of is the vector as 32 bit little-endian floats, as OpenAI sends them.
func base64Of(v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// vector is a text as a unit vector: each word, without case and punctuation, adds
// or takes one at a few places that its hash names, so that texts that share words
// lie near each other.
func vector(text string, dimensions int) []float32 {
	sums := make([]float64, dimensions)
	size := uint64(len(sums))
	for word := range strings.FieldsFuncSeq(text, separates) {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(strings.ToLower(word))) // never fails
		state := hash.Sum64()
		for range placesPerWord {
			state = scramble(state)
			sums[state>>1%size] += 1 - 2*float64(state&1)
		}
	}
	return unit(sums)
}

func separates(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsNumber(c) }

// scramble is the mixing step of SplitMix64: equal in, equal out, and neighbours
// far apart.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func unit(sums []float64) []float32 {
	square := 0.0
	for _, x := range sums {
		square += x * x
	}
	if square == 0 { // no words, or words that cancel out
		sums[0], square = 1, 1
	}
	out := make([]float32, len(sums))
	for i, x := range sums {
		out[i] = float32(x / math.Sqrt(square))
	}
	return out
}
