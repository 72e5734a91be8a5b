package bedrock

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// embed answers POST /model/{id}/invoke for Titan's embeddings, with a vector that
// depends on the text alone.
func embed(r *Request, m model) (answer, *Exception) {
	if m.embeds == 0 {
		return answer{}, Validation.With("This model's own form of request is not one this server speaks.")
	}
	if fault := embeddable(r, m); fault != nil {
		return answer{}, fault
	}
	dimensions := m.embeds
	for _, place := range []string{"dimensions", "embeddingConfig.outputEmbeddingLength"} {
		if wanted := r.JSON(place); wanted.Exists() {
			dimensions = int(wanted.Int())
		}
	}
	text := r.JSON("inputText").String()
	vector := stage.Vector(text, dimensions)
	body := object{"embedding": vector, "inputTextTokenCount": stage.Tokens(text)}
	if m.prefix == "amazon.titan-embed-text-v2" {
		body["embeddingsByType"] = object{"float": vector}
	}
	a := whole(http.StatusOK, stage.Encode(body))
	a.header.Set("X-Amzn-Bedrock-Input-Token-Count", strconv.Itoa(stage.Tokens(text)))
	a.header.Set("X-Amzn-Bedrock-Invocation-Latency", strconv.Itoa(latency))
	return a, nil
}

func embeddable(r *Request, m model) *Exception { //nolint:cyclop // one rule a case
	malformed := func(format string, values ...any) *Exception {
		return Validation.With("Malformed input request: %s, please reformat your input and try again.", fmt.Sprintf(format, values...))
	}
	known := []string{"inputText"}
	switch m.prefix {
	case "amazon.titan-embed-text-v2":
		known = append(known, "dimensions", "normalize", "embeddingTypes")
	case "amazon.titan-embed-image":
		known = append(known, "embeddingConfig")
	}
	var fault *Exception
	gjson.ParseBytes(r.Body).ForEach(func(key, _ gjson.Result) bool {
		if !slices.Contains(known, key.String()) {
			fault = malformed("#: extraneous key [%s] is not permitted", key)
		}
		return fault == nil
	})
	text, dimensions := r.JSON("inputText"), r.JSON("dimensions")
	length := r.JSON("embeddingConfig.outputEmbeddingLength")
	switch {
	case fault != nil:
		return fault
	case !text.Exists():
		return malformed("#: required key [inputText] not found")
	case text.Type != gjson.String:
		return malformed("#/inputText: expected type: String, found: %s", text.Type)
	case text.String() == "":
		return malformed("#/inputText: expected minLength: 1, actual: 0")
	case dimensions.Exists() && !slices.Contains([]string{"256", "512", "1024"}, dimensions.Raw):
		return malformed("#/dimensions: %s is not a valid enum value", dimensions.Raw)
	case length.Exists() && !slices.Contains([]string{"256", "384", "1024"}, length.Raw):
		return malformed("#/embeddingConfig/outputEmbeddingLength: %s is not a valid enum value", length.Raw)
	case r.JSON("normalize").Exists() && !r.JSON("normalize").IsBool():
		return malformed("#/normalize: expected type: Boolean, found: %s", r.JSON("normalize").Type)
	}
	for _, kind := range r.JSON("embeddingTypes").Array() {
		if kind.String() != "float" {
			return malformed("#/embeddingTypes: %s is not one this server makes", kind)
		}
	}
	return nil
}
