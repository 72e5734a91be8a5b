package set

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Format is the form of what lies in Parameter Store. A Postern reads its own and
// older ones, and refuses newer ones by name.
const Format = 1

// Pointer is the value of the parameter that names the set in force.
type Pointer struct {
	Postern int    `json:"postern"` // the Format
	Set     string `json:"set"`     // the ID of the set in force
	Change  int    `json:"change"`  // the number of the change that put it in force; from 1
	Last    int    `json:"last"`    // the highest number any set has had
}

// Meta is the value of a set's meta parameter.
type Meta struct {
	Postern int    `json:"postern"`           // the Format
	Version string `json:"version,omitempty"` // config.Config.Version, as the writer saw it
	Parent  string `json:"parent,omitempty"`  // the set that was changed
	Base    string `json:"base,omitempty"`    // "ENV SET" that the set was laid over
	Indexes int    `json:"indexes"`           // how many parameters the index has
	Index   string `json:"index"`             // the hash of the index
}

// Record is one change, as the history keeps it.
type Record struct {
	Postern int       `json:"postern"` // the Format
	Change  int       `json:"change"`
	Kind    string    `json:"kind"` // push, rollback or traffic
	Set     string    `json:"set"`
	From    string    `json:"from,omitempty"` // the set in force before
	By      string    `json:"by"`             // an AWS identity, or user@host's user
	Host    string    `json:"host"`
	At      time.Time `json:"at"` // by the clock of Host
	What    string    `json:"what"`
}

// NewerError is for what a newer Postern wrote.
type NewerError struct {
	Parameter string
	Format    int
}

// Error names the parameter and says what to do.
func (n NewerError) Error() string {
	return fmt.Sprintf("%s: was written by a newer Postern (format %d, this one reads up to %d): update this one", n.Parameter, n.Format, Format)
}

// ErrForm is a value that no Postern wrote.
var ErrForm = errors.New("is not what Postern writes there")

// Decode reads the JSON value of a parameter into a Pointer, Meta or Record. Its
// format is judged first: a newer one may have any form.
func Decode(parameter, value string, into any) error {
	var head struct {
		Postern int `json:"postern"`
	}
	err := json.Unmarshal([]byte(value), &head)
	switch {
	case err != nil || head.Postern < 1:
		return fmt.Errorf("%s: %w", parameter, ErrForm)
	case head.Postern > Format:
		return NewerError{parameter, head.Postern}
	}
	if err := json.Unmarshal([]byte(value), into); err != nil {
		return fmt.Errorf("%s: %w", parameter, ErrForm)
	}
	return nil
}

// Encode is the value of a parameter.
func Encode(from any) (string, error) {
	text, err := json.Marshal(from)
	return string(text), err
}

// Place says where the text of a part lies.
type Place struct {
	Key  string
	Hash string
	Set  string // the ID of the set that holds it
}

// Index writes places as texts of at most limit bytes each, a line a part.
func Index(places []Place, limit int) []string {
	var texts []string
	var b strings.Builder
	for _, p := range places {
		line := p.Set + " " + p.Hash + " " + p.Key + "\n"
		if b.Len() > 0 && b.Len()+len(line) > limit {
			texts = append(texts, b.String())
			b.Reset()
		}
		b.WriteString(line)
	}
	if b.Len() > 0 {
		texts = append(texts, b.String())
	}
	return texts
}

// HashIndex is the hash of an index.
func HashIndex(texts []string) string {
	sum := sha256.Sum256([]byte(strings.Join(texts, "")))
	return hex.EncodeToString(sum[:8])
}

// ParseIndex reads what Index wrote.
func ParseIndex(texts []string) ([]Place, error) {
	var places []Place
	for line := range strings.Lines(strings.Join(texts, "")) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("the line %q is not one of an index", strings.TrimSpace(line))
		}
		places = append(places, Place{Set: fields[0], Hash: fields[1], Key: fields[2]})
	}
	return places, nil
}

// Change is how one part differs between two sets.
type Change struct {
	Part   Part   // the new one; the old one where it went
	Kind   string // "added", "changed" or "removed"
	Before string // its text before
}

// Diff lists what must change in before to get after, by key.
func Diff(before, after []Part) []Change {
	old := map[string]Part{}
	for _, p := range before {
		old[p.Key()] = p
	}
	var changes []Change
	for _, p := range after {
		was, known := old[p.Key()]
		delete(old, p.Key())
		switch {
		case !known:
			changes = append(changes, Change{Part: p, Kind: "added"})
		case was.Text != p.Text:
			changes = append(changes, Change{Part: p, Kind: "changed", Before: was.Text})
		}
	}
	for _, p := range old {
		changes = append(changes, Change{Part: Part{Section: p.Section, Entry: p.Entry}, Kind: "removed", Before: p.Text})
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Part.Key(), b.Part.Key()) })
	return changes
}

// Summary is changes in one line of at most limit bytes: "models.x changed, …".
func Summary(changes []Change, limit int) string {
	if len(changes) == 0 {
		return "nothing"
	}
	var b strings.Builder
	for i, c := range changes {
		word := c.Part.Path() + " " + c.Kind
		if b.Len()+len(word)+20 > limit {
			fmt.Fprintf(&b, " and %d more", len(changes)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(word)
	}
	return b.String()
}
