package usage

import "github.com/postern-proxy/postern/usage/price"

// Source says how a number of tokens is known.
type Source uint8

// The sources. The zero value is unknown, so that a number nobody set is no zero.
const (
	Unknown Source = iota
	Exact
	Estimated
)

// String is the source's word in metrics and JSON.
func (s Source) String() string {
	return [...]string{"unknown", "exact", "estimated"}[min(s, Estimated)]
}

// Count is a number of tokens and how it is known.
type Count struct {
	N      int64
	Source Source
}

// Tokens are a request's. Cached (read from the provider's cache) and Written (put there)
// are parts of Input and Reasoning is one of Output; they are unknown, never 0, if the
// provider did not say them.
type Tokens struct {
	Input, Output, Cached, Written, Reasoning Count
}

// Estimated says that one of the numbers that are charged is not the provider's own.
func (t Tokens) Estimated() bool {
	return t.Input.Source == Estimated || t.Output.Source == Estimated
}

// Bytes a token, where the provider said nothing: of JSON that is mostly prose, and of
// server-sent events, each of which carries about one token in a lot of wrapping. They
// are low, so that an estimate is rather too high: budgets live on it.
const (
	proseBytes  = 4
	streamBytes = 200
	// mostGuessed bounds the tokens of a request's body: one that seems to have more holds
	// pictures, whose bytes are no measure of theirs.
	mostGuessed = 200_000
)

// count decides the tokens of a finished request from what stood in the log.
//
//   - The provider's numbers are exact, on an aborted stream too: they come once, at
//     its end.
//   - No provider was asked, or the request never went out to it, or it refused:
//     exactly none.
//   - Else the provider worked and nobody said how much: estimated from the bodies'
//     bytes, at least one token each.
//   - An endpoint that is not charged by tokens has unknown ones.
func count(r *Request, f found) Tokens {
	none := Count{Source: Exact}
	if f.any() {
		return f.tokens(r, estimate(r))
	}
	switch {
	case r.Provider == "", !r.sent, refusedByProvider(r):
		return Tokens{Input: none, Output: none}
	case !r.Endpoint.Metered():
		return Tokens{}
	}
	return estimate(r)
}

// refusedByProvider says that a provider's whole answer was an error: it did no work
// that it charges for. An error of Envoy's own (a timeout) says nothing of the kind.
func refusedByProvider(r *Request) bool {
	return r.Status >= 400 && r.Details == viaUpstream && !r.Aborted
}

func estimate(r *Request) Tokens {
	said, each := r.BytesOut, int64(proseBytes)
	switch {
	case r.Status >= 400 && r.Details != viaUpstream:
		said = 0 // the answer is Envoy's own: it says nothing of what the provider did
	case r.Stream:
		each = streamBytes
	}
	t := Tokens{
		Input:  Count{N: min(max(1, r.BytesIn/proseBytes), mostGuessed), Source: Estimated},
		Output: Count{N: max(1, said/each), Source: Estimated},
	}
	if r.Endpoint == Embeddings {
		t.Output = Count{Source: Exact}
	}
	return t
}

// found are the numbers of a provider's usage object; each is -1 if it is missing or
// cannot be believed.
type found struct {
	input, output, total, cached, written, reasoning int64
}

var nothing = found{-1, -1, -1, -1, -1, -1}

// any says that enough was found to know something of what is charged.
func (f found) any() bool { return f.input >= 0 || f.output >= 0 || f.total >= 0 }

// tokens fills what is missing from the total, and then from the estimate.
func (f found) tokens(r *Request, guess Tokens) Tokens {
	if r.Endpoint == Embeddings {
		f.output = 0
	}
	if f.input < 0 && f.output < 0 { // only the total: its parts are guessed
		in := min(guess.Input.N, f.total)
		return Tokens{
			Input:  Count{N: in, Source: Estimated},
			Output: Count{N: f.total - in, Source: Estimated},
		}
	}
	f = f.completed()
	t := Tokens{Input: guess.Input, Output: guess.Output}
	if f.input >= 0 {
		t.Input = Count{N: f.input, Source: Exact}
	}
	if f.output >= 0 {
		t.Output = Count{N: f.output, Source: Exact}
	}
	if f.cached >= 0 && f.cached <= t.Input.N {
		t.Cached = Count{N: f.cached, Source: Exact}
	}
	if f.written >= 0 && f.written <= t.Input.N-t.Cached.N {
		t.Written = Count{N: f.written, Source: Exact}
	}
	if f.reasoning >= 0 && f.reasoning <= t.Output.N {
		t.Reasoning = Count{N: f.reasoning, Source: Exact}
	}
	return t
}

// completed has the part that is missing, where the total and the other part tell it.
func (f found) completed() found {
	switch {
	case f.output < 0 && f.total >= f.input:
		f.output = f.total - f.input
	case f.input < 0 && f.total >= f.output:
		f.input = f.total - f.output
	}
	return f
}

// Prices is where costs come from; *price.Table is one.
type Prices interface {
	Cost(provider, model string, used price.Tokens) (amount price.Money, known, guessed bool)
}

// cost is what a request cost. One that no provider worked on cost nothing, which is
// known whatever the model.
func cost(prices Prices, r *Request) Cost {
	t := r.Tokens
	if t.Input.Source == Unknown || t.Output.Source == Unknown {
		return Cost{}
	}
	if t.Input.N == 0 && t.Output.N == 0 {
		return Cost{Known: true}
	}
	if prices == nil {
		return Cost{}
	}
	amount, known, guessed := prices.Cost(r.Provider, r.Model, price.Tokens{
		Input: t.Input.N, Cached: t.Cached.N, Written: t.Written.N, Output: t.Output.N,
	})
	if !known {
		return Cost{}
	}
	return Cost{Amount: amount, Known: true, Estimated: t.Estimated() || guessed}
}
