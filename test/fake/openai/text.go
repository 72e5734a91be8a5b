package openai

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// completion answers POST /v1/completions.
func completion(r Request, b Behavior) answer {
	prompt := textOf(r.JSON("prompt"))
	said, why := cut(r, words(b, prompt), "max_tokens")
	body := func(text string, reason any) object {
		return object{
			"id": fmt.Sprintf("cmpl-fake-%d", r.Number), "object": "text_completion", "created": r.Time.Unix(),
			"model":   r.JSON("model").String(),
			"choices": []any{object{"index": 0, "text": text, "logprobs": nil, "finish_reason": reason}},
		}
	}
	if !r.JSON("stream").Bool() {
		all := body(said, why)
		all["usage"] = usage(prompt, said)
		return ok(all)
	}
	var events [][]byte
	for _, piece := range pieces(b, said) {
		events = append(events, event(body(piece, nil)))
	}
	events = append(events, event(body("", why)))
	if r.JSON("stream_options.include_usage").Bool() {
		last := body("", nil)
		last["choices"], last["usage"] = []any{}, usage(prompt, said)
		events = append(events, event(last))
	}
	return stream(append(events, endOfStream)...)
}

// embeddings answers POST /v1/embeddings with vectors that depend on the input
// alone, as numbers or, as the SDKs like to ask, in base64.
func embeddings(r Request, _ Behavior) answer {
	dimensions := 8
	if wanted := r.JSON("dimensions").Int(); wanted > 0 && wanted <= 4096 {
		dimensions = int(wanted)
	}
	var data []any
	count := 0
	for i, input := range inputs(r.JSON("input")) {
		vector := stage.Vector(input, dimensions)
		item := object{"object": "embedding", "index": i, "embedding": vector}
		if r.JSON("encoding_format").String() == "base64" {
			item["embedding"] = packed(vector)
		}
		data = append(data, item)
		count += stage.Tokens(input)
	}
	return ok(object{
		"object": "list", "model": r.JSON("model").String(), "data": data,
		"usage": object{"prompt_tokens": count, "total_tokens": count},
	})
}

// inputs are the texts to embed: one string, a list of them, one list of tokens,
// or a list of those, each list of tokens in its JSON form.
func inputs(input gjson.Result) []string {
	list := input.Array()
	if !input.IsArray() || len(list) > 0 && list[0].Type == gjson.Number {
		return []string{input.String()}
	}
	texts := make([]string, len(list))
	for i, one := range list {
		texts[i] = one.String()
	}
	return texts
}

func packed(vector []float32) string {
	var out bytes.Buffer
	_ = binary.Write(&out, binary.LittleEndian, vector) // a buffer takes everything
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

// transcription answers POST /v1/audio/transcriptions, a multipart form, with what
// the form held.
func transcription(r Request) answer {
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return refusal(http.StatusBadRequest, "invalid_form", "The body is not a multipart form.")
	}
	form := multipart.NewReader(bytes.NewReader(r.Body), parameters["boundary"])
	model, name, size := "", "", int64(0)
	for {
		part, err := form.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return refusal(http.StatusBadRequest, "invalid_form", "The multipart form is broken.")
		}
		switch part.FormName() {
		case "file":
			name = part.FileName()
			size, _ = io.Copy(io.Discard, part) // the body is in memory; NextPart reports a break
		case "model":
			value, _ := io.ReadAll(part)
			model = string(value)
		}
	}
	return ok(object{
		"text":  fmt.Sprintf("%s heard %d bytes of %s", model, size, name),
		"usage": object{"type": "duration", "seconds": 1},
	})
}
