package demo

import (
	"math"

	"github.com/tidwall/gjson"
)

// maxChoices is the largest "n".
const maxChoices = 8

// missing says that a field is absent or null, which the OpenAI form treats alike.
func missing(value gjson.Result) bool { return !value.Exists() || value.Type == gjson.Null }

// modelField is the model's name, which every endpoint needs.
func modelField(body gjson.Result) (string, error) {
	value := body.Get("model")
	if missing(value) {
		return "", invalid("model", "The field 'model' is missing.")
	}
	if value.Type != gjson.String || value.Str == "" {
		return "", invalid("model", "The field 'model' must be a string that is not empty.")
	}
	return value.Str, nil
}

// boolField is an optional field; false if it is absent.
func boolField(body gjson.Result, name string) (bool, error) {
	value := body.Get(name)
	if missing(value) {
		return false, nil
	}
	if !value.IsBool() {
		return false, invalid(name, "The field '%s' must be true or false.", name)
	}
	return value.Bool(), nil
}

// intField is an optional field with a whole number from 1 to most; otherwise if it
// is absent.
func intField(body gjson.Result, name string, most, otherwise int) (int, error) {
	value := body.Get(name)
	if missing(value) {
		return otherwise, nil
	}
	if value.Type != gjson.Number || value.Num != math.Trunc(value.Num) ||
		value.Num < 1 || value.Num > float64(most) {
		return 0, invalid(name, "The field '%s' must be a whole number from 1 to %d.", name, most)
	}
	return int(value.Num), nil
}

// limitField is the first of several names for the largest number of words in an
// answer; 0 if there is none.
func limitField(body gjson.Result, names ...string) (int, error) {
	for _, name := range names {
		limit, err := intField(body, name, math.MaxInt32, 0)
		if err != nil || limit > 0 {
			return limit, err
		}
	}
	return 0, nil
}

// streaming is what a request says about how it wants its answer.
type streaming struct {
	on    bool
	usage bool // a last chunk with the usage
}

func readStreaming(body gjson.Result) (streaming, error) {
	var s streaming
	var err error
	if s.on, err = boolField(body, "stream"); err != nil {
		return s, err
	}
	options := body.Get("stream_options")
	if missing(options) {
		return s, nil
	}
	if !options.IsObject() {
		return s, invalid("stream_options", "The field 'stream_options' must be an object.")
	}
	if !s.on {
		return s, invalid("stream_options", "The field 'stream_options' is only allowed when 'stream' is true.")
	}
	s.usage, err = boolField(body, "stream_options.include_usage")
	return s, err
}

// wish is what requests to chat/completions and completions say alike: who is to answer,
// how often, and in what form.
type wish struct {
	streaming

	model   string
	choices int // to each prompt
}

func readWish(body gjson.Result) (wish, error) {
	var w wish
	var err error
	if w.model, err = modelField(body); err != nil {
		return w, err
	}
	if w.streaming, err = readStreaming(body); err != nil {
		return w, err
	}
	w.choices, err = intField(body, "n", maxChoices, 1)
	return w, err
}
