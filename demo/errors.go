package demo

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/postern-proxy/postern/fault"
)

// object is a JSON object of an answer.
type object = map[string]any

// encode is v as JSON on one line, with <, > and & as they are.
func encode(v any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) //nolint:errchkjson // maps, strings, finite numbers and valid raw JSON: cannot fail
	return bytes.TrimRight(out.Bytes(), "\n")
}

func writeJSON(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) //nolint:gosec,nolintlint // JSON, never HTML, though the linter sees that only at times; that the client is gone is nobody's concern
}

func writeError(w http.ResponseWriter, err error) {
	writeJSON(w, fault.KindOf(err).Status(), fault.OpenAI(err))
}

// invalid is a 400 that names the field at fault.
func invalid(param, format string, args ...any) error {
	err := fault.New("demo", fault.InvalidRequest, format, args...)
	err.Param = param
	return err
}
