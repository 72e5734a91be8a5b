// Package usage is what happened, exactly: it reads Envoy's access log and makes one
// record of each finished request, with its attempts, tokens and cost, for metrics,
// for the keys' own view of their use and for whoever watches in a terminal.
//
// The invariant: nothing here is on a request's path, nothing is counted twice, and no
// number is silently 0. A token count is exact, or marked as estimated, or not known;
// a cost whose price is not known is not known. The log has no acknowledgement: what
// is lost on the way is counted (Gap) and said. Everything that a client or a provider
// wrote is cleaned and clipped before it is kept, and everything kept is bounded.
//
// Entries flow: Service (gRPC) → decode → Joiner (requests with their attempts) →
// Consumers. All exported types are safe for concurrent use unless they say otherwise;
// a Request that was handed out is not changed again.
package usage

import (
	"time"

	"github.com/postern-proxy/postern/usage/price"
)

// Request is one finished request, as the client saw it.
type Request struct {
	ID       string    // x-request-id; a client may choose it, and use it twice
	Time     time.Time // when it began, by Envoy's clock
	Tenant   string    // claims of the verified key; all empty if there was none
	Key      string
	User     string
	Tier     string
	Route    string // the model's entry in the configuration; "pass/NAME" of a passed endpoint, else the route's own name
	Entry    bool   // Route is a model's entry
	Lane     Lane
	Endpoint Endpoint
	Stream   bool // the answer was server-sent events

	Asked    string // the model as the client named it; may be empty if nobody read it
	Provider string // who answered last; empty: no provider was asked
	Model    string // the model as that provider was asked for it

	Status   int    // HTTP status sent; 0: none was
	Flags    string // Envoy's response flags, "UF,URX"
	Details  string // Envoy's response code details: for operators only, they may name sockets
	Reason   Reason // why Envoy or Postern refused it, if one did
	Blame    Blame
	Aborted  bool // the client left before the end
	Attempts []Attempt
	Tried    int  // attempts that Envoy counted
	Partial  bool // not all attempts' entries came

	FirstByte time.Duration // to the first byte to the client; 0: there was none
	Duration  time.Duration
	BytesIn   int64 // of the bodies
	BytesOut  int64

	Tokens Tokens
	Cost   Cost
	Config string // configuration version that routed it, if it is in the log

	peer    uint64    // of the client's connection, hashed
	sent    bool      // some of it went out to that provider
	found   found     // tokens as they stood in the log
	entries uint64    // of the log that it is made of
	last    []Attempt // one, as the request's own entry tells it
}

// Attempt is one try at one provider.
type Attempt struct {
	RequestID string
	Time      time.Time
	Route     string // the model's entry in the configuration; empty: it was for none
	Provider  string
	Account   string // which of the provider's keys it was made with, from "0"; empty: it has not several
	Model     string // empty: the cluster does not say it, it is the request's
	Target    string // the same as it is configured, with its *; empty: the target has the entry's own name
	Status    int    // 0: no answer
	Flags     string
	Details   string // Envoy's response code details, or why there was no connection
	Blame     Blame
	Aborted   bool
	// Open says that the entry does not tell how the attempt ended, because Envoy
	// ended it: the client left, or the whole request's time was up. The finished
	// request tells, so this is only seen by who is told early (Settings.Attempt).
	Open      bool
	FirstByte time.Duration // from the attempt's begin to the first byte of its answer; 0: there was none
	Duration  time.Duration
	BytesIn   int64 // of the answer's body
	BytesOut  int64 // of the request's body

	// Failed is the kind of failure (fault.Kind) that an answer ended with which had begun
	// well; empty: nobody who read it says so.
	Failed string
	// Refused is the name of the error that a provider of Amazon's form answered with.
	Refused string

	// RetryAfter is the header of that name, as the provider wrote it; empty if it did
	// not, or if the attempt is Implied.
	RetryAfter string
	// Nowhere says that Envoy had no address left that it would try: the provider's
	// name has none, or all were left alone after they had failed.
	Nowhere bool
	// Implied says that the attempt has no entry of its own, because it did not fail:
	// its request's entry tells of it, and nobody was told early.
	Implied bool

	peer    uint64 // as the request's
	pattern string // of the entry, where model has a *
	number  uint32 // Envoy's count, if the entry has one
	found   found
}

// Cost is what a request cost.
type Cost struct {
	Amount    price.Money
	Known     bool // false: the price or the tokens are not known, and Amount is 0
	Estimated bool // some of its tokens were, or the price of those that were written to a cache
}

// Consumer takes finished requests, each once, from several goroutines. It must not
// keep the caller waiting and must not change the request.
type Consumer interface {
	Consume(r *Request)
}

// ConsumerFunc is a function as a Consumer.
type ConsumerFunc func(r *Request)

// Consume calls the function.
func (f ConsumerFunc) Consume(r *Request) { f(r) }

// Lane is which way a request went.
type Lane string

// The lanes. Empty is not known.
const (
	Native     Lane = "native"     // Envoy alone
	Found      Lane = "found"      // Go found the model
	Understood Lane = "understood" // Go read the body
)

// Endpoint is which of the API's operations a request was, by the GenAI conventions'
// names where they have one.
type Endpoint string

// The endpoints.
const (
	Chat        Endpoint = "chat"
	Completions Endpoint = "text_completion"
	Embeddings  Endpoint = "embeddings"
	Responses   Endpoint = "responses"
	Other       Endpoint = "other"
)

// Metered says that the endpoint is charged by tokens.
func (e Endpoint) Metered() bool { return e != Other }

// looked says that the gate itself was asked, and answered.
func (r *Request) looked() bool {
	return !r.Endpoint.Metered() && r.Provider == "" && r.Blame == Nobody
}
