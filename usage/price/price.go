// Package price is the one home of prices: what a model's tokens cost, by vendor and
// model, from a small dated table and what the configuration says over it.
//
// The invariant: an unknown price is unknown, never 0. An amount is given only if the
// rate of every token that was used is known; amounts are whole picodollars, so that
// sums are exact. The table is validated by Load, all faults at once.
//
// A Table does not change after New or Load: it is safe for concurrent use.
package price

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Quote is the price of a model as people write it, in US dollars per million tokens
// ("0.15"). Empty is not known; "-" is that the model has no such tokens; "0" is free.
type Quote struct {
	Input  string
	Cached string // input tokens that the provider had in its cache
	// Written are input tokens that it put there. Where this is not known, a quarter
	// more than Input is a guess: most who charge them ask that.
	Written string
	Output  string
	UpTo    int64 // holds for prompts of at most so many tokens; 0: for all
	// Regional is what all of it costs more, in percent, where the answer is made in a
	// region: Bedrock's names but those that begin with "global.".
	Regional int64
}

// Tokens are what a request used. Cached and Written are parts of Input.
type Tokens struct {
	Input, Cached, Written, Output int64
}

// Settings are what a configuration says of prices.
type Settings struct {
	// Vendors maps a configured provider's name to the vendor whose price list it
	// has: {"eu": "openai"}. A provider that is not in it is its own vendor.
	Vendors map[string]string
	// Free are configured providers that cost nothing.
	Free map[string]bool
	// Quotes stand over the table: by "provider/model" as configured, or
	// "vendor/model".
	Quotes map[string]Quote
}

// Table finds prices.
type Table struct {
	vendors map[string]string
	free    map[string]bool
	rates   map[name]rates
	listed  map[string]bool // the models of rates
}

type name struct{ vendor, model string }

// dated is the suffix of a pinned OpenAI model: gpt-4o-mini-2024-07-18.
var dated = regexp.MustCompile(`-20[0-9]{2}-[0-9]{2}-[0-9]{2}$`)

// global is the prefix of Bedrock's profiles that answer anywhere.
const global = "global."

// regions are the prefixes of Bedrock's cross-region profiles, which cost what the
// model costs, see Quote.Regional. Others (us-gov.) have prices of their own.
var regions = []string{"us.", "eu.", global}

// Cost is what the tokens cost at a configured provider under its own name for the
// model; known is false if that cannot be said for all of them, and guessed is true where
// it rests on a rate that is not known (Quote.Written).
func (t *Table) Cost(provider, model string, used Tokens) (amount Money, known, guessed bool) {
	return t.List(provider, model).Cost(used)
}

// List is the price list of one model at one provider, for who asks again and again. Its
// zero value knows no price. It does not change.
type List struct {
	rates       rates
	known, free bool
}

// List is that of a configured provider's own name for a model.
func (t *Table) List(provider, model string) List {
	if t.free[provider] {
		return List{free: true}
	}
	found, ok := t.find(provider, model)
	return List{rates: found, known: ok}
}

// Cost is as the Table's.
func (l List) Cost(used Tokens) (amount Money, known, guessed bool) { //nolint:cyclop // one doubt a case
	if used.Input < 0 || used.Output < 0 || used.Cached < 0 || used.Written < 0 ||
		used.Cached > used.Input || used.Written > used.Input-used.Cached {
		return 0, false, false
	}
	if l.free {
		return 0, true, false
	}
	found := l.rates
	if !l.known || found.upTo > 0 && used.Input > found.upTo {
		return 0, false, false
	}
	if guessed = used.Written > 0 && !found.written.known; guessed {
		found.written = rate{each: found.input.each + (found.input.each+3)/4, known: found.input.known}
	}
	for _, part := range [...]struct {
		of     rate
		tokens int64
	}{
		{found.input, used.Input - used.Cached - used.Written}, {found.cached, used.Cached},
		{found.written, used.Written}, {found.output, used.Output},
	} {
		if part.tokens == 0 {
			continue
		}
		cost, fits := part.of.each.times(part.tokens)
		if !part.of.known || !fits {
			return 0, false, false
		}
		if amount = amount.Plus(cost); amount == maxMoney {
			return 0, false, false
		}
	}
	return amount, true, guessed
}

// Known says that the table has a price for the model.
func (t *Table) Known(provider, model string) bool {
	_, ok := t.find(provider, model)
	return ok
}

// Models are the models' names in the table, sorted, each once.
func (t *Table) Models() []string {
	return slices.Sorted(maps.Keys(t.listed))
}

// find looks for the name as it is, first in what the configuration says of the
// provider, and then for the name without its date or region.
func (t *Table) find(provider, model string) (rates, bool) {
	vendor := provider
	if mapped, ok := t.vendors[provider]; ok {
		vendor = mapped
	}
	for _, candidate := range candidates(vendor, model) {
		for _, whose := range []string{provider, vendor} {
			if found, ok := t.rates[name{whose, candidate}]; ok {
				if vendor == bedrock && !strings.HasPrefix(model, global) {
					found = found.dearer()
				}
				return found, true
			}
		}
	}
	return rates{}, false
}

func candidates(vendor, model string) []string {
	all := []string{model}
	switch vendor {
	case bedrock:
		for _, region := range regions {
			if base, ok := strings.CutPrefix(model, region); ok {
				return append(all, base)
			}
		}
	default:
		if at := dated.FindStringIndex(model); at != nil {
			all = append(all, model[:at[0]])
		}
	}
	return all
}
