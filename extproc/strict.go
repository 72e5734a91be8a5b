package extproc

import (
	"context"

	"github.com/postern-proxy/postern/extproc/strict"
)

// Strict judges a request before anything is added to it, and refuses with a
// sentence that names the field. Endpoints without a known form pass.
type Strict struct{}

var _ Stage = Strict{}

// Name is "validate".
func (Strict) Name() string { return "validate" }

// Apply refuses what is wrong, by the name of the field.
func (Strict) Apply(_ context.Context, r *Request) error {
	var found *strict.Mistake
	switch r.Endpoint {
	case Chat:
		found = strict.Chat(r.Fields, r.Body)
	case Completions:
		found = strict.Completion(r.Fields, r.Body)
	case Embeddings:
		found = strict.Embedding(r.Fields, r.Body)
	case Responses:
		found = strict.Response(r.Fields, r.Body)
	case OtherEndpoint: // its form is not known here
	}
	if found != nil {
		return wrong(found.Param, found.Message)
	}
	return nil
}
