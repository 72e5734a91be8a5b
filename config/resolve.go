package config

import (
	"errors"
	"io/fs"
	"strings"

	"go.yaml.in/yaml/v3"
)

// secret checks a reference and fetches what it points to. A reference to nothing
// is a Secret that is Missing, and no mistake here: validate knows who can do without.
func (d *decoder) secret(p path, n *yaml.Node, into *Secret) {
	if !d.kind(p, n, yaml.ScalarNode) {
		return
	}
	// A bare number has no quotes to add: whatever stands here is held to be a key.
	if err := checkReference(n.Value); err != nil {
		d.problemf(p, "%s", err)
		return
	}
	if name := wholeVariable.FindStringSubmatch(n.Value); name != nil {
		value, _ := d.env.lookup(name[1])
		*into = NewSecret(n.Value, cutNewline(value))
		return
	}
	if name, ok := strings.CutPrefix(n.Value, parameterPrefix); ok {
		*into = NewSecret(n.Value, cutNewline(d.parameter(p, name)))
		return
	}
	text, unreadable := d.file(p, n.Value)
	if unreadable != "" {
		d.unreadable[p] = unreadable
	}
	*into = NewSecret(n.Value, cutNewline(text))
}

// file is the content of a file:PATH reference, or why there is none.
func (d *decoder) file(p path, ref string) (content, unreadable string) {
	name, missing, err := expand(strings.TrimPrefix(ref, filePrefix), d.env.lookup)
	switch {
	case err != nil:
		d.problemf(p, "%s", err)
		return "", ""
	case len(missing) > 0:
		return "", areUnset(missing) + " not set in the environment"
	}
	d.relative(p, name)
	text, err := d.env.readFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "the file " + ref + " does not exist"
	case err != nil:
		return "", "the file " + ref + " cannot be read"
	case len(text) == 0:
		return "", "the file " + ref + " is empty"
	}
	return string(text), ""
}

// parameter is the value of a ssm:NAME reference. One that is not there may be meant
// to come later, as a variable that is not set; one that cannot be read was there, and
// what runs with its value must not lose it.
func (d *decoder) parameter(p path, name string) string {
	if d.env.Parameter == nil {
		d.unreadable[p] = "ssm:" + name + " needs AWS Parameter Store, which is not asked here"
		return ""
	}
	value, err := d.env.Parameter(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.unreadable[p] = "there is no parameter ssm:" + name
	case err != nil:
		d.problemf(p, "%s", err)
	case value == "":
		d.unreadable[p] = "the parameter ssm:" + name + " is empty"
	}
	return value
}

// cutNewline takes off the newline that editors and shells put at the end.
func cutNewline(text string) string {
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
}
