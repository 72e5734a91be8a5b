package answer

import (
	"errors"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/fault"
)

var errNoConfiguration = fault.New("answer", fault.Unavailable, "The gateway has no configuration yet. Try again shortly.")

// ready says which configuration version answers, or why none does yet.
func (h *Handler) ready(current *config.Config) ([]byte, error) {
	if current == nil {
		return nil, errNoConfiguration
	}
	if h.Ready != nil {
		if err := h.Ready(); err != nil {
			return nil, unavailable(err)
		}
	}
	return encode(map[string]string{"status": "ready", "version": current.Version}), nil
}

// unavailable is err as a 503, with its message for clients where it has one and
// nothing else of it.
func unavailable(err error) error {
	out := &fault.Error{Op: "answer", Kind: fault.Unavailable, Cause: err}
	if known, ok := errors.AsType[*fault.Error](err); ok {
		out.Message = known.Message
	}
	return out
}
