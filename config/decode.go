package config

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds how many values are read: a small document can name the same
// anchor so often that it stands for billions.
const maxNodes = 200_000

// decoder fills Go values from YAML nodes by the fields' tags, and goes on after a
// mistake. A decoder of our own, because a library's stops at the first unknown key
// or shows the text of a wrong value, which may be a secret.
type decoder struct {
	*report
	env        Env
	nodes      int             // values read so far
	unread     map[path]bool   // what was not of its kind, so that nothing in it was read
	unreadable map[path]string // why a file: reference gave nothing
	entryAt    path            // the section, or the entry of one, that is being decoded
	excused    []path          // see excuse
	absent     Problems        // the mistakes that were excused
	obscure    []path          // entries that have a text which is not known here
	foreignTLS bool            // listen.tls is excused
}

// field is one key of a struct, read from its tags.
type field struct {
	name     string
	index    int
	required bool     // no omitempty
	words    []string // the enum of the jsonschema tag
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		f := field{name: name, index: i, required: options == ""}
		for tag := range strings.SplitSeq(t.Field(i).Tag.Get("jsonschema"), ",") {
			if word, ok := strings.CutPrefix(tag, "enum="); ok {
				f.words = append(f.words, word)
			}
		}
		fields = append(fields, f)
	}
	return fields
}

// value decodes a node into v, whose type says how.
func (d *decoder) value(p path, n *yaml.Node, v reflect.Value) {
	d.nodes++
	if d.nodes > maxNodes {
		return
	}
	d.mark(p, n)
	n = target(n)
	if n.ShortTag() == "!!null" {
		d.unread[p] = true
		d.problemf(p, "has no value: give it one, or remove the key")
		return
	}
	switch pointer := v.Addr().Interface().(type) {
	case *Secret:
		d.secret(p, n, pointer)
		return
	case encoding.TextUnmarshaler:
		d.scalar(p, n, pointer)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(p, n, v.Elem())
	case reflect.Struct:
		d.structure(p, n, v)
	case reflect.Map:
		d.mapping(p, n, v)
	case reflect.Slice:
		d.list(p, n, v)
	case reflect.Int:
		d.integer(p, n, v)
	case reflect.String:
		v.SetString(d.text(p, n))
	}
}

// entry decodes the value of a mapping's entry. What has parts stands where its key
// does: its own first line would be that of its first part.
func (d *decoder) entry(p path, e pair, v reflect.Value) {
	if target(e.value).Kind != yaml.ScalarNode {
		d.mark(p, e.key)
	}
	d.value(p, e.value, v)
}

// mark remembers where a value stands, and its text. The first mark of a path counts.
func (d *decoder) mark(p path, n *yaml.Node) {
	if _, ok := d.marks[string(p)]; !ok {
		d.marks[string(p)] = mark{line: n.Line, column: n.Column, text: target(n).Value}
	}
}

func (d *decoder) structure(p path, n *yaml.Node, v reflect.Value) {
	if !d.kind(p, n, yaml.MappingNode) {
		return
	}
	fields := fieldsOf(v.Type())
	for _, pair := range d.pairs(p, n) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == pair.name })
		at := p.key(pair.name)
		if i < 0 {
			d.mark(at, pair.key)
			d.unknown(at, pair.name, v.Type(), fields)
			continue
		}
		if p == "" {
			d.entryAt = at
		}
		d.entry(at, pair, v.Field(fields[i].index))
		if len(fields[i].words) > 0 && !d.broken(at) {
			d.word(at, v.Field(fields[i].index).String(), v.Type(), fields[i])
		}
	}
	for _, f := range fields {
		if at := p.key(f.name); f.required && !d.given(at) {
			d.problemf(at, "is missing")
		}
	}
}

func (d *decoder) unknown(p path, name string, t reflect.Type, fields []field) {
	if slices.Contains(later[t], name) {
		d.problemf(p, "is not supported yet")
		return
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	d.problemf(p, "unknown key%s", orList(closest(name, names), names))
}

// word holds a text to the few that its key takes.
func (d *decoder) word(p path, text string, t reflect.Type, f field) {
	switch {
	case slices.Contains(f.words, text):
	case slices.Contains(laterValues[t][f.name], text):
		d.problemf(p, "%s is not supported yet", d.quote(p))
	default:
		d.problemf(p, "%s is unknown%s", d.quote(p), orList(closest(text, f.words), f.words))
	}
}

// orList is the guess, or where there is none all that would be right.
func orList(guess string, known []string) string {
	if guess != "" || len(known) == 0 {
		return guess
	}
	return ": it can be " + strings.Join(known, ", ")
}

func (d *decoder) mapping(p path, n *yaml.Node, v reflect.Value) {
	if !d.kind(p, n, yaml.MappingNode) {
		return
	}
	pairs := d.pairs(p, n)
	v.Set(reflect.MakeMapWithSize(v.Type(), len(pairs)))
	isSection := p == d.entryAt
	for _, pair := range pairs {
		if isSection {
			d.entryAt = p.key(pair.name)
		}
		element := reflect.New(v.Type().Elem()).Elem()
		d.entry(p.key(pair.name), pair, element)
		if element.Kind() == reflect.Pointer && element.IsNil() {
			// The name is known, though its entry is wrong: what refers to it is right.
			element.Set(reflect.New(element.Type().Elem()))
		}
		v.SetMapIndex(reflect.ValueOf(pair.name), element)
	}
}

func (d *decoder) list(p path, n *yaml.Node, v reflect.Value) {
	if !d.kind(p, n, yaml.SequenceNode) {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(p.at(i), item, v.Index(i))
	}
}

func (d *decoder) integer(p path, n *yaml.Node, v reflect.Value) {
	if !d.kind(p, n, yaml.ScalarNode) {
		return
	}
	number, err := strconv.Atoi(n.Value)
	if n.ShortTag() != "!!int" || err != nil {
		d.problemf(p, "must be a whole number")
		return
	}
	v.SetInt(int64(number))
}

// scalar decodes a text, or a bare number as it was written, that has a form of its own.
func (d *decoder) scalar(p path, n *yaml.Node, into encoding.TextUnmarshaler) {
	text := n.Value
	if tag := n.ShortTag(); n.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float" {
		if text = d.text(p, n); d.broken(p) {
			return
		}
	}
	if err := into.UnmarshalText([]byte(text)); err != nil {
		d.problemf(p, "%s", err)
	}
}

// text is a node's text with its references replaced.
func (d *decoder) text(p path, n *yaml.Node) string {
	if !d.kind(p, n, yaml.ScalarNode) {
		return ""
	}
	// YAML takes a date for a time; here it is nobody's but a text, such as a version.
	if tag := n.ShortTag(); tag != "!!str" && tag != "!!timestamp" {
		d.problemf(p, "must be text: put it in quotes")
		return ""
	}
	text, missing, err := expand(n.Value, d.env.lookup)
	switch {
	case err != nil:
		d.problemf(p, "%s", err)
	case len(missing) > 0:
		d.unset(p, missing)
	case !utf8.ValidString(text):
		d.problemf(p, "the environment gives it a value that is not UTF-8")
	default:
		return text
	}
	return ""
}

func areUnset(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, " and ") + " are"
}

// kind holds a node to a kind.
func (d *decoder) kind(p path, n *yaml.Node, want yaml.Kind) bool {
	if n.Kind == want {
		return true
	}
	words := map[yaml.Kind]string{
		yaml.MappingNode:  "a mapping (key: value)",
		yaml.SequenceNode: "a list",
		yaml.ScalarNode:   "a single value",
	}
	d.unread[p] = true
	d.problemf(p, "must be %s, not %s", words[want], words[n.Kind])
	return false
}

// target is the node itself, or what an alias stands for.
func target(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}
