package set

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/postern-proxy/postern/config"
)

// Part is what one parameter holds: a section, or one entry of a section.
type Part struct {
	Section string // "models"
	Entry   string // "gpt-4o"; empty for a whole section
	Text    string // YAML
}

// Key is the end of the parameter's name: "models/gpt-4o".
func (p Part) Key() string {
	if p.Entry == "" {
		return escape(p.Section)
	}
	return escape(p.Section) + "/" + escape(p.Entry)
}

// Path is where the part stands in a document, as config.Path writes it.
func (p Part) Path() string {
	if p.Entry == "" {
		return config.Path(p.Section)
	}
	return config.Path(p.Section, p.Entry)
}

// Hash is a hash of the part's text.
func (p Part) Hash() string {
	sum := sha256.Sum256([]byte(p.Text))
	return hex.EncodeToString(sum[:8])
}

// FromKey is the part of a key, without its text.
func FromKey(key string) (Part, error) {
	section, entry, whole := strings.Cut(key, "/")
	p := Part{}
	var err error
	if p.Section, err = unescape(section); err != nil {
		return Part{}, err
	}
	if p.Entry, err = unescape(entry); err != nil {
		return Part{}, err
	}
	if p.Section == "" || whole && p.Entry == "" {
		return Part{}, fmt.Errorf("%q is no name as Postern writes it", key)
	}
	return p, nil
}

// Split makes parts of a document's text: one an entry of the sections that have
// entries, and one for each other section. Aliases and merges are written out,
// because an anchor may stand in another part. The text must be one that
// config.Parse takes, or an overlay: an entry whose value is null stands for one that
// is taken out of what lies beneath, and gives a Part with an empty Text.
func Split(text []byte) ([]Part, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, errors.New("the document is not YAML")
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("the document must be a mapping (key: value)")
	}
	w := &writer{}
	root := w.plain(document.Content[0])
	var parts []Part
	for i := 0; i+1 < len(root.Content); i += 2 {
		section, value := root.Content[i].Value, root.Content[i+1]
		if value.Kind != yaml.MappingNode || !slices.Contains(config.Sections(), section) {
			parts = append(parts, w.part(section, "", value))
			continue
		}
		for j := 0; j+1 < len(value.Content); j += 2 {
			parts = append(parts, w.part(section, value.Content[j].Value, value.Content[j+1]))
		}
	}
	if w.err != nil {
		return nil, w.err
	}
	return sorted(parts), nil
}

// sorted is parts in the order of their keys.
func sorted(parts []Part) []Part {
	slices.SortFunc(parts, func(a, b Part) int { return strings.Compare(a.Key(), b.Key()) })
	return parts
}

// writer writes parts and keeps the first error.
type writer struct {
	nodes int
	err   error
}

// most bounds how many values a document may stand for once its aliases are written
// out; config.Parse has a lower bound.
const most = 500_000

// plain is a copy of a node without aliases, anchors and, at the top of a mapping,
// merges.
func (w *writer) plain(n *yaml.Node) *yaml.Node {
	if w.nodes++; w.nodes > most {
		w.err = errors.New("the document stands for too many values: use fewer aliases (*name)")
		return &yaml.Node{Kind: yaml.ScalarNode}
	}
	if n.Kind == yaml.AliasNode {
		copied := w.plain(n.Alias)
		copied.LineComment = n.LineComment
		return copied
	}
	copied := *n
	braces(&copied)
	copied.Anchor, copied.Content = "", make([]*yaml.Node, 0, len(n.Content))
	if n.Kind != yaml.MappingNode {
		for _, child := range n.Content {
			copied.Content = append(copied.Content, w.plain(child))
		}
		return &copied
	}
	seen := map[string]bool{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := w.plain(n.Content[i]), w.plain(n.Content[i+1])
		if key.ShortTag() == "!!merge" {
			merges = append(merges, value)
			continue
		}
		seen[key.Value] = true
		copied.Content = append(copied.Content, key, value)
	}
	for _, merge := range merges { // their own merges are written out already
		sources := []*yaml.Node{merge}
		if merge.Kind == yaml.SequenceNode {
			sources = merge.Content
		}
		for _, source := range sources {
			for i := 0; i+1 < len(source.Content); i += 2 {
				if key := source.Content[i]; !seen[key.Value] {
					seen[key.Value] = true
					copied.Content = append(copied.Content, key, source.Content[i+1])
				}
			}
		}
	}
	return &copied
}

// braces readies a node for a store that takes no {{: quoted text can say it otherwise,
// see part, and a comment can do without.
func braces(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "{{") {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, comment := range []*string{&n.HeadComment, &n.LineComment, &n.FootComment} {
		*comment = strings.ReplaceAll(*comment, "{{", "{ {")
	}
}

func (w *writer) part(section, entry string, value *yaml.Node) Part {
	p := Part{Section: section, Entry: entry}
	if value.ShortTag() == "!!null" {
		return p
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	err := encoder.Encode(value)
	if err == nil {
		err = encoder.Close()
	}
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("%s cannot be written as YAML", p.Path())
	}
	// What is left of {{ stands in double quotes.
	p.Text = strings.ReplaceAll(text.String(), "{{", `{\x7b`)
	return p
}

// Lay puts an overlay over a base: its parts replace those of the same name, and its
// empty parts take them out.
func Lay(base, overlay []Part) []Part {
	all := map[string]Part{}
	for _, p := range slices.Concat(base, overlay) {
		all[p.Key()] = p
	}
	var parts []Part
	for _, p := range all {
		if p.Text != "" {
			parts = append(parts, p)
		}
	}
	return sorted(parts)
}

// Document is the parts as one text, for people.
func Document(parts []Part) string {
	var b strings.Builder
	section := ""
	for _, p := range sorted(slices.Clone(parts)) {
		indent := "  "
		if p.Section != section {
			section = p.Section
			fmt.Fprintf(&b, "%s:", yamlKey(p.Section))
			if p.Entry != "" || strings.ContainsAny(strings.TrimSuffix(p.Text, "\n"), "\n:") {
				b.WriteString("\n")
			}
		}
		if p.Entry != "" {
			fmt.Fprintf(&b, "  %s:\n", yamlKey(p.Entry))
			indent = "    "
		}
		for line := range strings.Lines(strings.TrimSuffix(p.Text, "\n") + "\n") {
			if line == "\n" {
				b.WriteString(line)
				continue
			}
			b.WriteString(indent + line)
		}
	}
	return b.String()
}

// yamlKey is a name as a key of YAML.
func yamlKey(name string) string {
	text, err := yaml.Marshal(name)
	if err != nil {
		return fmt.Sprintf("%q", name)
	}
	return strings.TrimSuffix(string(text), "\n")
}

// Assemble makes a configuration of the parts. name gives what messages call a part,
// by its key; whole what they call the set.
func Assemble(whole string, name func(key string) string, parts []Part, env config.Env) (*config.Config, error) {
	return config.Assemble(whole, named(name, parts), env)
}

// Parameters are the names of the secrets in Parameter Store that the parts refer to.
func Parameters(parts []Part, env config.Env) []string {
	return config.Parameters(named(func(key string) string { return key }, parts), env)
}

func named(name func(string) string, parts []Part) []config.Part {
	all := make([]config.Part, len(parts))
	for i, p := range parts {
		steps := []string{p.Section}
		if p.Entry != "" {
			steps = append(steps, p.Entry)
		}
		all[i] = config.Part{Name: name(p.Key()), Steps: steps, Text: []byte(p.Text)}
	}
	return all
}
