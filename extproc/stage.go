package extproc

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// Endpoint is which of the API's forms a body has.
type Endpoint uint8

// The endpoints whose bodies are read here.
const (
	OtherEndpoint Endpoint = iota
	Chat
	Completions
	Embeddings
	Responses
)

// Request is what the stages see of a request. Stages do not change Body: they add
// edits, which all refer to the bytes of Body and are made together at the end.
type Request struct {
	Endpoint Endpoint
	Path     string // as it came, with its query
	Groups   string // of its route, for Pick
	Stands   string // how each of them stands, likewise
	Body     []byte
	Fields   body.Fields // of Body's top level
	Strip    bool        // the answer's usage chunk is ours: the client did not ask for it
	edits    []body.Edit
	chosen   [][]wire.Member // the groups that are left, where some are not
}

// Stage is one step of understanding. An error of it ends the request; a
// *fault.Error says how. A Stage is used by many requests at once.
type Stage interface {
	Name() string // in metrics: one word
	Apply(ctx context.Context, r *Request) error
}

// Observer is told how long a stage took and how it ended: ok, or an error's kind.
type Observer func(stage, outcome string, took time.Duration)

// Edit asks for an edit of the body.
func (r *Request) Edit(e body.Edit) { r.edits = append(r.edits, e) }

// edited is the body with all edits made; nil if there are none.
func (r *Request) edited() []byte {
	if len(r.edits) == 0 {
		return nil
	}
	slices.SortStableFunc(r.edits, func(a, b body.Edit) int { return cmp.Compare(a.Start, b.Start) })
	return body.Apply(r.Body, r.edits...)
}

// run is around every stage: its time, and the end of the request's own.
func (s *Service) run(ctx context.Context, stage Stage, r *Request) error {
	if ctx.Err() != nil {
		return fault.Wrap("extproc."+stage.Name(), fault.Unavailable, ctx.Err())
	}
	begun := time.Now()
	err := stage.Apply(ctx, r)
	s.observe(stage.Name(), begun, err)
	return err
}

// observe tells how a stage went that began then.
func (s *Service) observe(stage string, begun time.Time, err error) {
	if s.Observe == nil {
		return
	}
	outcome := "ok"
	if err != nil {
		outcome = fault.KindOf(err).String()
	}
	s.Observe(stage, outcome, time.Since(begun))
}

// endpointOf knows an endpoint by its path, without the query.
func endpointOf(path string) Endpoint {
	for i := range len(path) {
		if path[i] == '?' {
			path = path[:i]
			break
		}
	}
	switch path {
	case wire.PathChat:
		return Chat
	case wire.PathCompletions:
		return Completions
	case wire.PathEmbeddings:
		return Embeddings
	case wire.PathResponses:
		return Responses
	}
	return OtherEndpoint
}
