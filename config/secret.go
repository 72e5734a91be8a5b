package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
)

// Secret is a reference to a secret and, once resolved, its value. Nothing that
// prints a Secret (fmt, JSON, YAML, slog, an error) shows the value: only Reveal does.
type Secret struct {
	ref string
	// A pointer, because fmt prints the unexported fields of other people's
	// structs without asking our methods: it then shows an address.
	value *string
}

// NewSecret is a resolved secret, for tests and for code that has the value by
// other ways than a configuration document.
func NewSecret(ref, value string) Secret {
	if value == "" {
		return Secret{ref: ref}
	}
	return Secret{ref: ref, value: &value}
}

// Reveal is the value; empty if the reference points to nothing.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Ref is the reference as written: "${OPENAI_API_KEY}", "file:/run/key"; empty
// if the document has none.
func (s Secret) Ref() string { return s.ref }

// Missing says that a secret is asked for and has no value.
func (s Secret) Missing() bool { return s.ref != "" && s.value == nil }

// String is the reference.
func (s Secret) String() string { return s.ref }

// GoString is the reference too, so that %#v gives nothing away.
func (s Secret) GoString() string { return fmt.Sprintf("config.Secret(%q)", s.ref) }

// Format prints the reference, whatever the verb.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.ref
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = io.WriteString(f, text) // fmt keeps its own errors
}

// LogValue is the reference, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.ref) }

// MarshalText is the reference, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.ref), nil }

// IsZero lets omitzero leave out a secret that nobody asked for.
func (s Secret) IsZero() bool { return s.ref == "" && s.value == nil }

// UnmarshalText takes a reference and resolves nothing: the secret is Missing. Its
// errors never show the text, which may be somebody's real key.
func (s *Secret) UnmarshalText(text []byte) error {
	ref := string(text)
	if err := checkReference(ref); err != nil {
		return err
	}
	*s = Secret{ref: ref}
	return nil
}

const (
	filePrefix      = "file:"
	parameterPrefix = "ssm:"
)

// parameterForm is what a parameter may be called: a whole path, or a name that
// starts at the secrets of the environment.
var parameterForm = regexp.MustCompile(`^/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)

// wholeVariable is a text that is one variable and nothing else.
var wholeVariable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// checkReference says why a text is not a reference to a secret.
func checkReference(ref string) error {
	switch {
	case ref == "":
		return errors.New("is empty: give a reference such as ${NAME}, file:PATH or ssm:NAME, or remove the key")
	case wholeVariable.MatchString(ref):
		return nil
	case strings.HasPrefix(ref, parameterPrefix) && parameterForm.MatchString(ref[len(parameterPrefix):]):
		return nil
	case strings.HasPrefix(ref, parameterPrefix):
		return errors.New("ssm: needs a parameter's name after it, of letters, digits and . - _ /, such as ssm:openai or ssm:/team/openai")
	case ref == filePrefix:
		return errors.New("file: needs a path after it")
	case strings.HasPrefix(ref, filePrefix):
		return nil
	case strings.HasPrefix(ref, "${") && strings.Contains(ref, ":-"):
		return errors.New("a secret must not have a default: write ${NAME} only")
	default:
		return errors.New("must be a reference, ${NAME}, file:PATH or ssm:NAME, and never the secret itself")
	}
}
