package config

import (
	"errors"
	"regexp"
)

// Price is what a model's tokens cost, over the table that Postern has: in US dollars
// per million tokens. What is left out is not known.
type Price struct {
	Input   Amount `json:"input,omitempty" yaml:"input,omitempty" jsonschema_description:"US dollars per million input tokens."`
	Cached  Amount `json:"cached,omitempty" yaml:"cached,omitempty" jsonschema_description:"Of input tokens that the provider had in its cache; unset: not known."`
	Written Amount `json:"written,omitempty" yaml:"written,omitempty" jsonschema_description:"Of input tokens that the provider put into its cache; unset: guessed, a quarter more than input."`
	Output  Amount `json:"output,omitempty" yaml:"output,omitempty" jsonschema_description:"US dollars per million output tokens; '-' for a model that has none, as embeddings."`
}

// Amount is a decimal number as it was written: no float comes between.
type Amount string

var amountForm = regexp.MustCompile(`^([0-9]{1,7}(\.[0-9]{1,6})?|-)$`)

// UnmarshalText reads "0.15", "15" or "-".
func (a *Amount) UnmarshalText(text []byte) error {
	if !amountForm.Match(text) {
		return errors.New("must be a decimal number such as 0.15, in US dollars per million tokens")
	}
	*a = Amount(text)
	return nil
}

// MarshalText gives it back.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a), nil }

// Metrics is what the metrics name beside routes, providers and models.
type Metrics struct {
	Tenants int `json:"tenants,omitempty" yaml:"tenants,omitempty" jsonschema:"minimum=0,maximum=1000" jsonschema_description:"Series for so many tenants, others are one; default 0: none. A change needs a restart."`
}

// vendors are known by the host of a provider's URL.
var vendors = map[string]string{"api.openai.com": "openai"}

// PriceList is the vendor whose prices a provider has; empty where the provider's own
// name is the best guess.
func (p *Provider) PriceList() string {
	if p.Vendor != "" {
		return p.Vendor
	}
	if p.Schema == SchemaBedrock {
		return SchemaBedrock
	}
	if u := p.Endpoint(); u != nil {
		return vendors[u.Hostname()]
	}
	return ""
}

// systems are OpenTelemetry's names of providers (gen_ai.provider.name), by their hosts.
var systems = map[string]string{
	"api.openai.com": "openai", "api.anthropic.com": "anthropic", "api.groq.com": "groq", "api.mistral.ai": "mistral_ai",
	"api.deepseek.com": "deepseek", "api.x.ai": "x_ai", "api.perplexity.ai": "perplexity", "api.cohere.ai": "cohere",
	"api.cohere.com": "cohere", "generativelanguage.googleapis.com": "gcp.gemini",
}

// System is OpenTelemetry's name of what a provider is; empty where it has none, and the
// provider's own name stands for it.
func (p *Provider) System() string {
	switch p.Schema {
	case SchemaBedrock:
		return "aws.bedrock"
	case SchemaAzure:
		return "azure.ai.openai"
	}
	if u := p.Endpoint(); u != nil && systems[u.Hostname()] != "" {
		return systems[u.Hostname()]
	}
	if p.Vendor == vendors["api.openai.com"] {
		return p.Vendor
	}
	return ""
}

// The values of Model.Usage.
const (
	UsageAsked = "asked" // what the client asked the provider to say
	UsageExact = "exact" // the provider is always asked
)
