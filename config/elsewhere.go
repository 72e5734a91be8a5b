package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// excuse says that mistakes in a place may be this machine's and not the document's:
// where that is for other machines, they are warnings.
func (d *decoder) excuse(place path) {
	if d.env.Elsewhere {
		d.excused = append(d.excused, place)
	}
}

// unset notes a variable that a text needs and that is not set here. Whether that entry
// of the document keeps the rules nobody can say then.
func (d *decoder) unset(p path, names []string) {
	d.problemf(p, "%s not set in the environment: set it, or give a default with ${NAME:-default}", areUnset(names))
	d.excuse(p)
	if d.env.Elsewhere {
		d.obscure = append(d.obscure, d.entryAt)
	}
}

// relative notes a file whose place depends on who reads it.
func (d *decoder) relative(p path, name string) {
	if d.env.Elsewhere && !filepath.IsAbs(name) {
		d.warnf(p, "is a relative path, which in Parameter Store starts at the working folder of each gate: write the whole path")
	}
}

// settle makes warnings of the mistakes that are excused. The first decoded of them are
// of the form of the text, which is the same everywhere.
func (d *decoder) settle(decoded int) {
	i := -1
	d.problems = slices.DeleteFunc(d.problems, func(p Problem) bool {
		i++
		in := func(place path) bool { return inside(p.Path, string(place)) }
		excused := slices.ContainsFunc(d.excused, in) || i >= decoded && slices.ContainsFunc(d.obscure, in)
		if excused {
			p.Message += " (on this machine; a gate where that is so does not take it)"
			d.warnings, d.absent = append(d.warnings, p), append(d.absent, p)
		}
		return excused
	})
}

// Absent are those of the Warnings that would be mistakes if the document were for this
// machine: what gates need and this one lacks. See Env.Elsewhere.
func (c *Config) Absent() []Problem { return slices.Clone(c.absent) }

// Rehearsal is c as a gate compiles it that has all secrets: each that has no value
// here has a word in its place, so that what is compiled can be judged though the
// secrets lie elsewhere. It is not for serving. whole is false where c cannot be
// compiled here at all, because it needs variables that are not set.
func (c *Config) Rehearsal() (all *Config, whole bool) {
	clone := c.withKeys(Secret.rehearsed)
	if t := c.Listen.TLS; t != nil && (t.Certificate.Missing() || t.Key.Missing() || c.foreignTLS) {
		clone.Listen.TLS = nil // no word looks like a certificate
	}
	return clone, !c.partial
}

// Masked is c without a secret, for who only looks at what is compiled: each provider's key
// that has a value has a word in its place, and the listener has no certificate. It is not
// for serving.
func (c *Config) Masked() *Config {
	clone := c.withKeys(Secret.masked)
	clone.Listen.TLS = nil
	return clone
}

// withKeys is a copy of c with other values for the keys of providers.
func (c *Config) withKeys(change func(Secret) Secret) *Config {
	clone := *c
	clone.Providers = maps.Clone(c.Providers)
	for name, p := range c.Providers {
		own := *p
		own.Key = change(own.Key)
		own.Keys = slices.Clone(p.Keys)
		for i := range own.Keys {
			own.Keys[i].Key = change(own.Keys[i].Key)
		}
		clone.Providers[name] = &own
	}
	return &clone
}

func (s Secret) masked() Secret {
	if s.Reveal() == "" {
		return s
	}
	return NewSecret(s.ref, "masked")
}

func (s Secret) rehearsed() Secret {
	if !s.Missing() {
		return s
	}
	return NewSecret(s.ref, "rehearsal")
}

// here says that a secret's value comes from this machine.
func (s Secret) here() bool { return !strings.HasPrefix(s.ref, parameterPrefix) }
