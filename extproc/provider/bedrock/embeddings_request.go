package bedrock

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// embedding reads a request for embeddings, which is a call of InvokeModel in Titan's
// own form
// (https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html).
// Fields of Settings.Fields stand beside Titan's own, such as "normalize".
func (r *request) embedding() (Call, *mistake) {
	r.asked.Form, r.asked.Operation = Embeddings, Invoke
	if r.model.family != titanEmbed {
		return Call{}, is("is not a model for embeddings, or not one of Amazon Titan's").field("model")
	}
	if m := r.judge(embeddingRules); m != nil {
		return Call{}, m
	}
	for _, own := range []string{"inputText", "inputImage", "embeddingConfig"} {
		if r.passed(own) {
			return Call{}, unknown(own)
		}
	}
	input, m := oneText(r.get("input"), "one text, because InvokeModel embeds one a call: send a request for each")
	if m != nil {
		return Call{}, m.field("input")
	}
	switch format := r.get("encoding_format"); {
	case format.Type == gjson.Null, format.Str == "float":
	case format.Str == "base64":
		r.asked.Base64 = true
	default:
		return Call{}, is("must be float or base64").field("encoding_format")
	}
	if r.dry {
		input.Raw = `""`
	}
	out := members(make([]byte, 0, len(input.Raw)+len(r.extra)+64))
	out = append(out, '{')
	out = append(out, `"inputText":`...)
	out = append(out, input.Raw...)
	if m := r.dimensions(&out); m != nil {
		return Call{}, m.field("dimensions")
	}
	if len(r.extra) > 0 {
		out = append(out, ',')
		out = append(out, r.extra...)
	}
	return Call{Path: path(r.model.id, Invoke), Body: append(out, '}'), Asked: r.asked}, nil
}

// dimensions adds how long the vector is to be, as the model takes it.
func (r *request) dimensions(out *members) *mistake {
	v := r.get("dimensions")
	if v.Type == gjson.Null {
		return nil
	}
	name := bare(r.model.id)
	switch {
	case strings.HasPrefix(name, "amazon.titan-embed-text-v2"):
		if v.Raw != "256" && v.Raw != "512" && v.Raw != "1024" {
			return is("must be 256, 512 or 1024 for this model")
		}
		out.add("dimensions", v.Raw)
	case strings.HasPrefix(name, "amazon.titan-embed-image"):
		if v.Raw != "256" && v.Raw != "384" && v.Raw != "1024" {
			return is("must be 256, 384 or 1024 for this model")
		}
		out.add("embeddingConfig", `{"outputEmbeddingLength":`+v.Raw+"}")
	case v.Raw != strconv.Itoa(titanV1):
		return is("must be " + strconv.Itoa(titanV1) + " or left out for this model: its vectors have no other length")
	}
	return nil
}

// titanV1 is how long the vectors of Titan's first text model are.
const titanV1 = 1536
