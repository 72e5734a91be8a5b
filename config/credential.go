package config

import (
	"strconv"
	"strings"
)

// What a provider may speak.
const (
	SchemaOpenAI = "openai"
	SchemaAzure  = "azure"
)

// azureV1 ends the URL of Azure's newer API, whose paths are OpenAI's own.
const azureV1 = "/openai/v1"

// Credential is one of the ways to be somebody at a provider.
type Credential struct {
	// Place is which of keys it is, from "0", and does not change when another key
	// has no value; empty where the provider has a key, or none.
	Place  string
	Secret Secret // of no value where the provider needs none
	Weight int
}

// Credentials are those that requests can be sent with: the keys that have a value;
// one without a value for a provider that needs none.
func (p *Provider) Credentials() []Credential {
	if len(p.Keys) == 0 {
		if p.Key.Missing() {
			return nil
		}
		return []Credential{{Secret: p.Key, Weight: 1}}
	}
	var all []Credential
	for i, key := range p.Keys {
		if key.Key.Reveal() != "" {
			all = append(all, Credential{Place: strconv.Itoa(i), Secret: key.Key, Weight: key.share()})
		}
	}
	return all
}

func (k Key) share() int {
	if k.Weight == nil {
		return 1
	}
	return *k.Weight
}

// PlainPaths says that the provider's paths are its base path and OpenAI's own after
// it, with nothing that depends on the request.
func (p *Provider) PlainPaths() bool { return p.APIVersion == "" && !p.Translated() }

// Deployments says that the model's name stands in the provider's paths, as the older
// form of Azure's API has it: …/openai/deployments/NAME/chat/completions.
func (p *Provider) Deployments() bool {
	return p.Schema == SchemaAzure && p.APIVersion != "" && !strings.HasSuffix(p.BasePath(), azureV1)
}

// SharedPath says that the paths of all targets of a usable route begin the same way,
// so that a request's path is written once, for all its attempts.
func SharedPath(route [][]Target, providers map[string]*Provider) bool {
	base, first := "", true
	for _, group := range route {
		for _, target := range group {
			p := providers[target.Provider]
			if !p.PlainPaths() || !first && p.BasePath() != base {
				return false
			}
			base, first = p.BasePath(), false
		}
	}
	return true
}
