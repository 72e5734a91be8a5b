package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"unicode"
)

// What is said, counted and cut here is so for every fake, so that one assertion fits
// them all.

// Words is what a model says to a prompt: content, or an echo if that is empty; by
// repetition as many bytes as size says, unless that is 0.
func Words(content string, size int, prompt string) string {
	said := content
	if said == "" {
		said = "You said: " + firstRunes(prompt, 200)
	}
	if size > 0 {
		said = strings.Repeat(said+" ", size/(len(said)+1)+1)[:size]
		said = strings.ToValidUTF8(said, "?")
	}
	return said
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// Pieces cuts what is said for a stream into n pieces, or one a word if n is 0 or too
// many; together they are what was said.
func Pieces(said string, n int) []string {
	split := strings.SplitAfter(said, " ")
	if n <= 0 || n >= len(split) {
		return split
	}
	cut := make([]string, n)
	for i := range cut {
		cut[i] = strings.Join(split[i*len(split)/n:(i+1)*len(split)/n], "")
	}
	return cut
}

// Tokens is how many a text counts: its words, and at least one.
func Tokens(text string) int { return max(1, len(strings.Fields(text))) }

// FirstWords is the beginning of a text that counts n tokens.
func FirstWords(text string, n int) string {
	count, inside := 0, false
	for i, c := range text {
		space := unicode.IsSpace(c)
		if !space && !inside {
			if count == n {
				return strings.TrimRightFunc(text[:i], unicode.IsSpace)
			}
			count++
		}
		inside = !space
	}
	return text
}

// Vector is a unit vector made from a hash of the text.
func Vector(text string, dimensions int) []float32 {
	vector := make([]float32, dimensions)
	length := 0.0
	for i := range vector {
		hash := fnv.New32a()
		_, _ = fmt.Fprintf(hash, "%d:%s", i, text)
		value := float64(hash.Sum32())/math.MaxUint32*2 - 1
		vector[i] = float32(value)
		length += value * value
	}
	for i := range vector {
		vector[i] /= float32(math.Sqrt(length))
	}
	return vector
}

// Object is a JSON object.
type Object = map[string]any

// Encode gives JSON as providers do: without Go's escapes for HTML.
func Encode(v any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // maps of plain values always encode
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
