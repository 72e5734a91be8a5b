package usage

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/usage/price"
	"github.com/postern-proxy/postern/wire"
)

// Paths of a key's own use.
const (
	PathUsage   = "/v1/usage"
	pathRequest = "/v1/usage/"
)

var _ http.Handler = (*Recent)(nil)

// ServeHTTP answers GET /v1/usage with the sums of the key that asks, and GET
// /v1/usage/{request id} with one of its requests. Who asks stands in the header
// x-postern-key, which Envoy writes after it verified the key and which no client can
// forge. Errors are in OpenAI's form; another key's request is one that does not exist.
func (s *Recent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	answer, err := s.answer(w.Header(), r)
	if err != nil {
		w.WriteHeader(fault.KindOf(err).Status())
		_, _ = w.Write(fault.OpenAI(err))
		return
	}
	_ = json.NewEncoder(w).Encode(answer) //nolint:errchkjson // plain types; that the client is gone is nobody's concern
}

func (s *Recent) answer(header http.Header, r *http.Request) (any, error) {
	id, single := strings.CutPrefix(r.URL.Path, pathRequest)
	if single = single && id != ""; !single && r.URL.Path != PathUsage {
		return nil, &fault.Error{Op: "usage", Kind: fault.UnknownPath}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		return nil, &fault.Error{Op: "usage", Kind: fault.MethodNotAllowed}
	}
	keys := r.Header.Values(wire.HeaderKey)
	if len(keys) != 1 || keys[0] == "" {
		return nil, &fault.Error{Op: "usage", Kind: fault.InvalidKey}
	}
	key := clean(keys[0], maxName) // as it stands in the records
	if !single {
		sums, _ := s.Sums(key)
		return sums.view(), nil
	}
	found, ok := s.Request(key, clean(id, maxID))
	if !ok {
		return nil, fault.New("usage", fault.UnknownPath,
			"No request of this key with this id is remembered. Only the last requests are, and only once they have ended.")
	}
	return found.view(), nil
}

// sumsView is the JSON of a key's sums. Money is in exact dollars, as a text.
type sumsView struct {
	Object      string     `json:"object"`
	Since       *time.Time `json:"since"`
	Requests    int64      `json:"requests"`
	Errors      int64      `json:"errors"`
	Tokens      TokenSums  `json:"tokens"`
	Estimated   TokenSums  `json:"estimated_tokens"`
	Unknown     int64      `json:"unknown_token_requests"`
	Cost        string     `json:"cost_usd"`
	Guessed     string     `json:"estimated_cost_usd"`
	CostUnknown int64      `json:"unknown_cost_requests"`
}

func (s *Sums) view() sumsView {
	v := sumsView{
		Object: "usage", Requests: s.Requests, Errors: s.Errors,
		Tokens: s.Exact, Estimated: s.Estimated, Unknown: s.Unknown,
		Cost: dollars(s.Cost), Guessed: dollars(s.Guessed), CostUnknown: s.CostUnknown,
	}
	if !s.Since.IsZero() {
		v.Since = &s.Since
	}
	return v
}

// requestView is the JSON of a request for its own key: Envoy's details and the
// addresses in them are not in it.
type requestView struct {
	Object    string        `json:"object"`
	ID        string        `json:"id"`
	Time      time.Time     `json:"time"`
	Endpoint  Endpoint      `json:"endpoint"`
	Model     string        `json:"model"`
	Provider  string        `json:"provider,omitempty"`
	AskedAs   string        `json:"provider_model,omitempty"` // the model as the provider was asked for it
	Status    int           `json:"status"`
	Refused   Reason        `json:"refused,omitempty"`
	Blame     Blame         `json:"blame"`
	Aborted   bool          `json:"aborted"`
	FirstByte float64       `json:"first_byte_seconds,omitempty"`
	Duration  float64       `json:"duration_seconds"`
	BytesIn   int64         `json:"bytes_in"`
	BytesOut  int64         `json:"bytes_out"`
	Tokens    tokensView    `json:"tokens"`
	Cost      *string       `json:"cost_usd"` // null: not known
	Estimated bool          `json:"cost_estimated"`
	Config    string        `json:"config,omitempty"`
	Attempts  []attemptView `json:"attempts"`
	Partial   bool          `json:"attempts_incomplete,omitempty"`
}

type attemptView struct {
	Provider  string  `json:"provider"`
	Model     string  `json:"model,omitempty"`
	Status    int     `json:"status"`
	Flags     string  `json:"flags,omitempty"`
	FirstByte float64 `json:"first_byte_seconds,omitempty"`
	Duration  float64 `json:"duration_seconds"`
	Logged    bool    `json:"logged,omitempty"` // it has an entry of its own in Envoy's log
}

// tokensView has null for what is not known.
type tokensView struct {
	Input     *int64 `json:"input"`
	Output    *int64 `json:"output"`
	Cached    *int64 `json:"cached"`  // read from the provider's cache
	Written   *int64 `json:"written"` // put there
	Reasoning *int64 `json:"reasoning"`
	Estimated bool   `json:"estimated"`
}

func (r *Request) view() requestView {
	v := requestView{
		Object: "usage.request", ID: r.ID, Time: r.Time, Endpoint: r.Endpoint,
		Model: r.Asked, Provider: r.Provider, AskedAs: r.Model,
		Status: r.Status, Refused: r.Reason, Blame: r.Blame, Aborted: r.Aborted,
		FirstByte: r.FirstByte.Seconds(), Duration: r.Duration.Seconds(), BytesIn: r.BytesIn, BytesOut: r.BytesOut,
		Tokens: tokensView{
			Input: r.Tokens.Input.view(), Output: r.Tokens.Output.view(),
			Cached: r.Tokens.Cached.view(), Written: r.Tokens.Written.view(), Reasoning: r.Tokens.Reasoning.view(), Estimated: r.Tokens.Estimated(),
		},
		Estimated: r.Cost.Estimated, Config: r.Config, Attempts: []attemptView{}, Partial: r.Partial,
	}
	if r.Cost.Known {
		amount := dollars(r.Cost.Amount)
		v.Cost = &amount
	}
	for _, a := range r.Attempts {
		v.Attempts = append(v.Attempts, attemptView{
			Provider: a.Provider, Model: a.Model, Status: a.Status, Flags: a.Flags,
			FirstByte: a.FirstByte.Seconds(), Duration: a.Duration.Seconds(), Logged: !a.Implied,
		})
	}
	return v
}

func (c Count) view() *int64 {
	if c.Source == Unknown {
		return nil
	}
	return &c.N
}

func dollars(m price.Money) string { return strings.TrimSuffix(m.String(), " USD") }
