package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Part is one piece of a document that does not lie in one file: a section, such as
// listen, or one entry of a section, such as a model.
type Part struct {
	Name  string   // what messages call it: the name of a parameter
	Steps []string // where it belongs: {"listen"} or {"models", "gpt-4o"}
	Text  []byte   // its value, YAML
}

// Assemble makes a Config of a document's parts, as Parse does of the whole. name is
// what messages call what no part has; all others name the part, and the line in it.
// It has the same Version as the same document in one file.
func Assemble(name string, parts []Part, env Env) (*Config, error) {
	if len(parts) == 0 {
		return nil, Problems{{File: name, Message: "the set is empty: it needs providers and models"}}
	}
	r := newReport(name)
	r.parts = map[string]string{}
	root := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	size := 0
	for _, part := range parts {
		if size += len(part.Text); size > maxDocument {
			return nil, Problems{{File: name, Message: "the document is larger than 1MiB"}}
		}
		if err := r.put(root, part); err != nil {
			return nil, err
		}
	}
	if len(r.problems) > 0 {
		return r.rest(root, env)
	}
	return r.config(root, env)
}

// rest finds the mistakes of the parts that could be read, besides those known: who
// mends one should not have to wait to hear of the next.
func (r *report) rest(root *yaml.Node, env Env) (*Config, error) {
	unread := slices.Clone(r.problems)
	_, err := r.config(root, env)
	more, _ := errors.AsType[Problems](err)
	for _, problem := range more {
		if !slices.ContainsFunc(unread, func(known Problem) bool {
			return inside(problem.Path, known.Path)
		}) {
			unread = append(unread, problem) // not what the empty place of an unread part lacks
		}
	}
	return nil, unread.sorted()
}

// inside says that a path is another one, or a place in it.
func inside(p, around string) bool {
	rest, ok := strings.CutPrefix(p, around)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// put reads a part and puts it into the document. One that cannot be read is
// reported and stands there as a name without a value, so that what refers to it is
// not wrong too.
func (r *report) put(root *yaml.Node, part Part) error {
	p := path("")
	for _, step := range part.Steps {
		p = p.key(step)
	}
	if len(part.Steps) == 0 || len(part.Steps) > 2 {
		return errors.New("config: a part is a section or an entry of one: " + part.Name)
	}
	r.parts[string(p)] = part.Name
	own := newReport(part.Name)
	content := own.content(part.Text, "is empty: it needs a value, or should not be there")
	if content == nil {
		for _, problem := range own.problems {
			problem.Path = string(p)
			r.add(problem)
		}
		r.marks[string(p)] = own.marks[""]
		content = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}
		if !named(part.Steps) {
			return nil
		}
	}
	into := root
	if len(part.Steps) == 2 {
		into = section(root, part.Steps[0])
		r.marks[part.Steps[0]] = mark{}
	}
	into.Content = append(into.Content, keyNode(part.Steps[len(part.Steps)-1]), content)
	return nil
}

// named says that a part is an entry that others refer to by its name.
func named(steps []string) bool { return len(steps) == 2 }

// section is the mapping of a section whose entries come in parts.
func section(root *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == name && root.Content[i+1].Kind == yaml.MappingNode {
			return root.Content[i+1]
		}
	}
	mapping := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	root.Content = append(root.Content, keyNode(name), mapping)
	return mapping
}

func keyNode(name string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name, Style: yaml.DoubleQuotedStyle, Line: 1, Column: 1}
}

// Sections are the keys of a document whose values are entries by name (providers,
// models, …), in the order of the document: each entry can be a part of its own.
func Sections() []string {
	var names []string
	t := reflect.TypeFor[Config]()
	for _, f := range fieldsOf(t) {
		if t.Field(f.index).Type.Kind() == reflect.Map {
			names = append(names, f.name)
		}
	}
	return names
}

// Parameters are the names of the secrets in AWS Parameter Store that a document in
// parts refers to, as written after ssm:. It judges nothing.
func Parameters(parts []Part, env Env) []string {
	var names []string
	seen := map[string]bool{}
	env.Parameter = func(name string) (string, error) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
		return "", errors.New("not asked yet")
	}
	_, _ = Assemble("", parts, env) // its mistakes are found when the values are there
	return names
}

// Environment is the process's own environment; relative file: references start at
// folder.
func Environment(folder string) Env {
	return Env{Lookup: os.LookupEnv, ReadFile: func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(folder, name)
		}
		return readFile(name)
	}}
}

// CheckReference says why a text is no reference to a secret; nil if it is one. Its
// errors never show the text.
func CheckReference(text string) error { return checkReference(text) }
