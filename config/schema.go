package config

import (
	_ "embed"
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of the document, for editors. It knows
// the keys and their forms; Parse knows more: references, the environment, and
// what must agree with what.
func Schema() []byte { return slices.Clone(schema) }
