package answer

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/fault"
)

// model is one entry in OpenAI's form.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// models is the list in OpenAI's form: exact names with a usable route, sorted.
// Patterns stand for names without an end and cannot be listed.
func (h *Handler) models(c *config.Config) []byte {
	data := []model{} // a list, also when it is empty
	for name, m := range c.Models {
		if strings.HasSuffix(name, "*") {
			continue
		}
		if owner, usable := owner(c, m); usable {
			data = append(data, h.entry(name, owner))
		}
	}
	slices.SortFunc(data, func(a, b model) int { return strings.Compare(a.ID, b.ID) })
	return encode(map[string]any{"object": "list", "data": data})
}

// model is one entry, for an exact name or one that a pattern covers.
func (h *Handler) model(c *config.Config, id string) ([]byte, error) {
	_, m, found := c.Match(id)
	if !found || strings.ContainsFunc(id, isControl) { // such a name is never routed
		return nil, &fault.Error{Op: "answer", Kind: fault.ModelNotFound, Param: "model"}
	}
	owner, usable := owner(c, m)
	if !usable {
		return nil, &fault.Error{Op: "answer", Kind: fault.ModelNotFound, Param: "model"}
	}
	return encode(h.entry(id, owner)), nil
}

func (h *Handler) entry(id, owner string) model {
	created := int64(0)
	if !h.Created.IsZero() {
		created = h.Created.Unix()
	}
	return model{ID: id, Object: "model", Created: created, OwnedBy: owner}
}

// owner is the provider that a request for m is sent to first.
func owner(c *config.Config, m *config.Model) (string, bool) {
	for _, group := range m.UsableRoute(c.Providers) {
		return group[0].Provider, true
	}
	return "", false
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }

func encode(v any) []byte {
	text, _ := json.Marshal(v) //nolint:errchkjson // strings and numbers only: cannot fail
	return text
}
