package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxDocument bounds a document, and each file that it refers to.
const maxDocument = 1 << 20

// Env is where a document's references lead. A nil function leads nowhere.
type Env struct {
	Lookup   func(name string) (value string, ok bool) // an environment variable
	ReadFile func(name string) ([]byte, error)         // the path as written after file:

	// Parameter is a secret in AWS Parameter Store, by its name as written after
	// ssm:. An fs.ErrNotExist says that there is none; any other error that it cannot
	// be had now, which is a mistake of the document: the last good one stays. Nil: nobody
	// asks there, and what comes from there is not judged.
	Parameter func(name string) (string, error)

	// Elsewhere says that the document is for other machines than this one. What it
	// needs of its machine (variables that are set, the files of file: references)
	// and does not find here is a warning then. Parameter Store is the same everywhere.
	Elsewhere bool
}

func (e Env) lookup(name string) (string, bool) {
	if e.Lookup == nil {
		return "", false
	}
	return e.Lookup(name)
}

func (e Env) readFile(name string) ([]byte, error) {
	if e.ReadFile == nil {
		return nil, fs.ErrNotExist
	}
	return e.ReadFile(name)
}

// Load reads a document from a file, with the process's environment; relative file:
// references start at the document's folder. A document with mistakes gives Problems.
func Load(file string) (*Config, error) { return LoadWith(file, nil) }

// LoadWith is Load with a way to the secrets in AWS Parameter Store; see Env.
func LoadWith(file string, parameter func(name string) (string, error)) (*Config, error) {
	text, err := readFile(file)
	if err != nil {
		return nil, Problems{{File: file, Message: "the file " + whyUnreadable(err)}}
	}
	var files []string
	env := Env{Lookup: os.LookupEnv, Parameter: parameter, ReadFile: func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(file), name)
		}
		files = append(files, name)
		return readFile(name)
	}}
	c, err := Parse(file, text, env)
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	c.files = slices.Compact(files)
	return c, nil
}

// readFile reads a file up to just over maxDocument, so that a wrong path (a disk
// image, a device) cannot fill the memory.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, maxDocument+1))
}

func whyUnreadable(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by this user"
	default:
		return "cannot be read"
	}
}

// Parse reads a document from text; name is what its messages call it. A document
// with mistakes gives Problems, all of them, and no Config.
func Parse(name string, text []byte, env Env) (*Config, error) {
	r := newReport(name)
	root := r.document(text)
	if root == nil {
		return nil, r.problems.sorted()
	}
	return r.config(root, env)
}

// config makes a Config of a document's root mapping.
func (r *report) config(root *yaml.Node, env Env) (*Config, error) {
	c := &Config{}
	d := &decoder{report: r, env: env, unread: map[path]bool{}, unreadable: map[path]string{}}
	d.value("", root, reflect.ValueOf(c).Elem())
	if d.nodes > maxNodes {
		return nil, Problems{{File: r.file, Message: "the document stands for too many values: use fewer aliases (*name)"}}
	}
	decoded := len(r.problems)
	(&validator{decoder: d, config: c}).validate()
	d.settle(decoded)
	if len(r.problems) > 0 {
		return nil, r.problems.sorted()
	}
	c.partial, c.foreignTLS, c.absent = len(d.obscure) > 0, d.foreignTLS, d.absent.sorted()
	c.marks, c.warnings = r.marks, r.warnings.sorted()
	version, err := c.version()
	if err != nil {
		return nil, err
	}
	c.Version = version
	return c, nil
}

// document is the root mapping of a text; nil if there is none, which is then
// reported.
func (r *report) document(text []byte) *yaml.Node {
	content := r.content(text, "the document is empty: it needs providers and models")
	if content != nil && content.Kind != yaml.MappingNode {
		r.problemf("", "the document must be a mapping (key: value) with providers and models")
		return nil
	}
	return content
}

// content is the one value of a text; nil if there is none, which is then reported.
func (r *report) content(text []byte, empty string) *yaml.Node {
	if len(text) > maxDocument {
		r.problemf("", "the document is larger than 1MiB")
		return nil
	}
	if !utf8.Valid(text) {
		valid := len(text)
		for i, c := range string(text) {
			if _, size := utf8.DecodeRune(text[i:]); c == utf8.RuneError && size == 1 {
				valid = i
				break
			}
		}
		r.marks[""] = mark{line: 1 + bytes.Count(text[:valid], []byte("\n"))}
		r.problemf("", "the document is not UTF-8 text")
		return nil
	}
	var root, second yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(text))
	err := documents.Decode(&root)
	switch {
	case errors.Is(err, io.EOF):
		r.problemf("", "%s", empty)
		return nil
	case err != nil:
		r.syntax(text, err)
		return nil
	}
	content := root.Content[0]
	r.marks[""] = mark{line: content.Line, column: content.Column}
	switch err := documents.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		r.syntax(text, err)
		return nil
	default:
		r.marks[""] = mark{line: second.Line, column: second.Column}
		r.problemf("", "a second document starts here: one file holds one")
		return nil
	}
	if content.ShortTag() == "!!null" {
		r.problemf("", "%s", empty)
		return nil
	}
	return content
}

// version is the hash of the document with every variable and default in it. Secrets
// count by their references, and by whether they have a value: a version says what the
// policy is, which leaves out what cannot be used, and not with which key it runs.
func (c *Config) version() (string, error) {
	canonical, err := json.Marshal(c) // maps come out sorted
	if err != nil {
		return "", fmt.Errorf("config.Parse: the canonical form: %w", err)
	}
	h := sha256.New()
	_, _ = h.Write(canonical) // a hash takes all
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		p := c.Providers[name]
		if p.Key.Missing() {
			_, _ = fmt.Fprintf(h, "\n%q without", name)
		}
		for i, key := range p.Keys {
			if key.Key.Missing() {
				_, _ = fmt.Fprintf(h, "\n%q without %d", name, i)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}
