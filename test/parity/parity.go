// Package parity is what a client may hold of every model, whoever is behind it:
// cases.json, requests in OpenAI's form and what their answers must be, of OpenAI's own
// models and of each family of Amazon Bedrock's. It is read by two runners, each with an
// official client of OpenAI's: test/e2e/bedrock in Go, test/python/parity.py in Python.
//
// The invariant: what is asserted stands in cases.json and nowhere else, and a runner
// only sends, reads what came into the facts that [Facts] lists, and compares. A model
// that cannot do something answers 400 and names the field that "refused" says; the
// field "row" is the row of the table in docs/providers.md that says so.
//
// Values are read once and do not change; everything here may be used at the same time.
package parity

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

//go:embed cases.json
var text []byte

// File is cases.json.
type File struct {
	Models map[string]string           `json:"models"` // by the name clients use: Bedrock's id; empty: OpenAI's form
	Of     map[string][]string         `json:"of"`     // by endpoint: the models asked, unless the case says
	Every  map[string]map[string]Facts `json:"every"`  // by endpoint and way: what holds of each answer
	Cases  []Case                      `json:"cases"`
}

// Facts are what is read of an answer, by name, as JSON has it. Of chat: content, json
// (content, parsed), finish_reason, role, reasoning, calls (name and arguments, parsed,
// in the order of their index), call_ids (how many of their ids differ), usage (prompt,
// completion, total; null: none was said). Of completions: text, finish_reason, usage. Of
// responses: text, json, status, calls, call_ids, usage. Of embeddings: count, lengths,
// first (three numbers of the first, to four digits), usage. Of all: object, id, model,
// choices (the most that a chunk has). Of streams also: chunks, ids (how many differ),
// finishes (chunks with a finish_reason), usage_last (the usage came last and alone);
// ordered (sequence numbers from 0, without a gap), ended (the last event says so),
// pieces_agree (the deltas make the whole). Of a refusal: status, code, param.
type Facts = map[string]any

// Case is a request, and what its answer must be.
type Case struct {
	Name    string           `json:"name"`
	Path    string           `json:"path"` // the endpoint: chat (default), completions, responses, embeddings
	Row     string           `json:"row"`  // of the table of differences
	Ways    []string         `json:"ways"` // plain, stream; default both
	Models  []string         `json:"of"`   // default all of the endpoint
	Skip    []string         `json:"skip"` // but these
	Script  *Script          `json:"script"`
	Request json.RawMessage  `json:"request"` // without model and stream
	First   Facts            `json:"first"`   // what the answer must be before "then"
	Then    []map[string]any `json:"then"`    // the answer's message and these are sent after the request's
	Want    Facts            `json:"want"`
	But     map[string]Facts `json:"but"` // by model: laid over want

	// Refused is, by "model", "model way", "bedrock" or "bedrock way", the field that the
	// 400 names.
	Refused map[string]string `json:"refused"`
}

// Script is what the fakes say where the user's last words are Text.
type Script struct {
	Text      string `json:"text"`
	Content   string `json:"content"`   // in place of an echo
	Input     string `json:"input"`     // of a tool's call
	Reasoning string `json:"reasoning"` // before the words
	Calls     int    `json:"calls"`     // of the first so many tools
}

// Read gives the cases.
func Read() (File, error) {
	var f File
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("parity: cases.json: %w", err)
	}
	for i := range f.Cases {
		c := &f.Cases[i]
		if c.Path == "" {
			c.Path = "chat"
		}
		if len(c.Ways) == 0 {
			c.Ways = []string{"plain", "stream"}
		}
		if c.Path == "embeddings" {
			c.Ways = []string{"plain"}
		}
		if len(c.Models) == 0 {
			c.Models = f.Of[c.Path]
		}
		c.Models = slices.DeleteFunc(slices.Clone(c.Models), func(m string) bool { return slices.Contains(c.Skip, m) })
	}
	return f, nil
}

// Field is the field by whose name the model refuses the case; empty where it does not.
func (f File) Field(c Case, model, way string) string {
	keys := []string{model + " " + way, model}
	if f.Models[model] != "" {
		keys = append(keys, "bedrock "+way, "bedrock")
	}
	for _, key := range keys {
		if field, refused := c.Refused[key]; refused {
			return field
		}
	}
	return ""
}

// Expected are the facts that must hold of a model's answer.
func (f File) Expected(c Case, model, way string) Facts {
	all := Facts{}
	for _, some := range []Facts{f.Every[c.Path][way], c.Want, c.But[model]} {
		maps.Copy(all, some)
	}
	return all
}

// Differences are what got has otherwise than want, a line each. Names in want are of
// facts; "$model" is the model's name, {"starts": …}, {"contains": …} and {"at_least": …}
// are less than equality.
func Differences(want, got Facts, model string) []string {
	var all []string
	for name, wanted := range want {
		if wanted == "$model" {
			wanted = model
		}
		if !holds(wanted, got[name]) {
			all = append(all, fmt.Sprintf("%s: %s, and not %s", name, shown(got[name]), shown(wanted)))
		}
	}
	slices.Sort(all)
	return all
}

func holds(want, got any) bool {
	if rule, ok := want.(map[string]any); ok && len(rule) == 1 {
		said, _ := got.(string)
		number, _ := got.(float64)
		for name, value := range rule {
			switch name {
			case "starts":
				return strings.HasPrefix(said, value.(string))
			case "contains":
				return strings.Contains(said, value.(string))
			case "at_least":
				return number >= value.(float64)
			}
		}
	}
	return reflect.DeepEqual(want, got)
}

func shown(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// Plainly gives facts the types that JSON has, so that they compare.
func Plainly(facts Facts) (Facts, error) {
	text, err := json.Marshal(facts)
	if err != nil {
		return nil, err
	}
	var plain Facts
	return plain, json.Unmarshal(text, &plain)
}
