package set

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// nameForm is what prefixes (each step of them) and environments may be called.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// Tree is where the parameters of one environment lie.
type Tree struct {
	Prefix      string // "/postern"
	Environment string // "prod"
}

// Check says why a Tree cannot be one.
func (t Tree) Check() error {
	if t.Environment == "" {
		return errors.New("the environment is missing: --env dev, for one")
	}
	if !nameForm.MatchString(t.Environment) {
		return fmt.Errorf("an environment is named by letters, digits, '.', '_' and '-', not %q", t.Environment)
	}
	for step := range strings.SplitSeq(strings.TrimPrefix(t.Prefix, "/"), "/") {
		if !strings.HasPrefix(t.Prefix, "/") || !nameForm.MatchString(step) {
			return fmt.Errorf("a prefix is a path such as /postern, not %q", t.Prefix)
		}
	}
	return nil
}

func (t Tree) root() string { return t.Prefix + "/" + t.Environment }

// Active is the parameter that names the set in force.
func (t Tree) Active() string { return t.root() + "/active" }

// Sets is the folder of all sets.
func (t Tree) Sets() string { return t.root() + "/sets" }

// Set is the folder of a set.
func (t Tree) Set(id string) string { return t.Sets() + "/" + id }

// Meta is the parameter that says what a set is. It is written last: a set without
// it is not finished.
func (t Tree) Meta(id string) string { return t.Set(id) + "/meta" }

// Part is the parameter of a part that a set holds itself.
func (t Tree) Part(id, key string) string { return t.Set(id) + "/doc/" + key }

// History is the folder of the changes.
func (t Tree) History() string { return t.root() + "/history" }

// Change is the parameter that records a change, by its number.
func (t Tree) Change(number int) string { return fmt.Sprintf("%s/%06d", t.History(), number) }

// Secret is the parameter of a name as written after ssm:. One that does not begin
// with a slash lies among the environment's own secrets.
func (t Tree) Secret(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return t.root() + "/secrets/" + name
}

// ID is the name of a set: its number, so that the order of sets depends on nobody's
// clock, and a piece of its content's hash, so that two that are made at one time do
// not meet.
func ID(number int, random string) string { return fmt.Sprintf("%06d-%s", number, random) }

// Number is the number in a set's ID; 0 if it has none.
func Number(id string) int {
	digits, _, _ := strings.Cut(id, "-")
	n, _ := strconv.Atoi(digits) // 0 is the answer then
	return n
}

// escape writes any name with the letters that Parameter Store allows: others, and
// the _ that marks them, as _ and two hexadecimal digits for each byte.
func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '.' || c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z':
			b.WriteByte(c)
		case c == '_':
			b.WriteString("__")
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

var escaped = regexp.MustCompile(`__|_[0-9a-f]{2}|_|[^A-Za-z0-9._-]`)

// unescape is what escape was given.
func unescape(text string) (string, error) {
	wrong := false
	name := escaped.ReplaceAllStringFunc(text, func(code string) string {
		if code == "__" {
			return "_"
		}
		n, err := strconv.ParseUint(strings.TrimPrefix(code, "_"), 16, 8)
		wrong = wrong || err != nil || len(code) != 3
		return string([]byte{byte(n)})
	})
	if wrong || escape(name) != text {
		return "", fmt.Errorf("%q is no name as Postern writes it", text)
	}
	return name, nil
}
