// Package answer is the answers that Postern gives itself, as an HTTP handler that
// Envoy routes to: which models there are, whether the gate is ready, and refusals
// that pages of other origins must be able to read.
//
// The invariant: what is listed is what would be routed. A model without a usable
// provider is neither listed nor found, by the same rules the compiler of routes
// follows, on the same configuration version.
//
// A Handler is safe for concurrent use as long as its fields do not change; each
// request sees one configuration version, the one that was current when it came.
package answer

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// Handler answers GET and HEAD of /v1/models, /v1/models/{id} and /readyz. Errors are
// in OpenAI's form.
type Handler struct {
	// Config is the current configuration, such as the Load of an atomic pointer.
	// It is needed; while it gives nil nothing is ready and no model is known.
	Config func() *config.Config
	// Ready says why the gate cannot take requests yet; nil: nothing to wait for.
	// Of its error only a fault.Error's Message is shown.
	Ready func() error
	// Created is the "created" of every model: nobody knows when a provider made
	// its models, so it is when the gate began to offer them. Zero: 1970.
	Created time.Time
}

var _ http.Handler = (*Handler)(nil)

const (
	listPath  = "/v1/models"
	modelPath = "/v1/models/"
	readyPath = "/readyz"
)

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := h.answer(w.Header(), r)
	if err != nil {
		write(w, r, fault.KindOf(err).Status(), fault.OpenAI(err))
		return
	}
	write(w, r, http.StatusOK, text)
}

func (h *Handler) answer(header http.Header, r *http.Request) ([]byte, error) {
	switch r.URL.Path {
	case wire.PathChat, wire.PathCompletions, wire.PathEmbeddings, wire.PathResponses:
		// Envoy sends what is to be refused, and only that.
		if r.Method == http.MethodPost {
			return nil, fault.ModelMissing()
		}
		header.Set("Allow", http.MethodPost)
		return nil, &fault.Error{Op: "answer", Kind: fault.MethodNotAllowed}
	}
	// The path is already decoded, once; an id may hold slashes of its own.
	id, single := strings.CutPrefix(r.URL.Path, modelPath)
	if single = single && id != ""; !single && r.URL.Path != listPath && r.URL.Path != readyPath {
		return nil, &fault.Error{Op: "answer", Kind: fault.UnknownPath}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		return nil, &fault.Error{Op: "answer", Kind: fault.MethodNotAllowed}
	}
	current := h.Config()
	switch {
	case r.URL.Path == readyPath:
		header.Set("Cache-Control", "no-store")
		return h.ready(current)
	case current == nil:
		return nil, errNoConfiguration
	case single:
		return h.model(current, id)
	}
	return h.models(current), nil
}

func write(w http.ResponseWriter, r *http.Request, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) //nolint:gosec // JSON, never HTML; that the client is gone is nobody's concern
	}
}
