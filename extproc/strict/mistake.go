package strict

import (
	"slices"
	"strconv"
	"strings"
)

// mistake is what is wrong with a value, and where in it. The place grows as it is
// handed up, so that nothing is written for a request that is right.
type mistake struct {
	where string // ".function.name", "[3].content"
	what  string // "must be a string"
}

func is(what string) *mistake { return &mistake{what: what} }

func missing(name string) *mistake { return is("is missing").field(name) }

// field says that the value is a member.
func (m *mistake) field(name string) *mistake {
	m.where = "." + name + m.where
	return m
}

// item says that the value is an element.
func (m *mistake) item(i int) *mistake {
	m.where = "[" + strconv.Itoa(i) + "]" + m.where
	return m
}

// rule judges a value that is there.
type rule func(v value) *mistake

func text(v value) *mistake {
	if v.kind() != '"' {
		return is("must be a string")
	}
	return nil
}

// filled is a string that says something.
func filled(v value) *mistake {
	if v.kind() != '"' || len(v) == 2 {
		return is("must be a string that is not empty")
	}
	return nil
}

// partText is one text of a conversation.
func partText(v value) *mistake {
	if m := text(v); m != nil {
		return m
	}
	return notLong(v)
}

func notLong(v value) *mistake {
	if len(v)-2 > maxPartText {
		return is("must have at most " + strconv.Itoa(maxPartText>>20) + " MiB")
	}
	return nil
}

// name is what functions, tools and schemas may be called.
func name(v value) *mistake {
	if v.kind() == '"' {
		if inner := v.inner(); len(inner) > 0 && len(inner) <= maxName && plainName(inner) {
			return nil
		}
	}
	return is("must be a name of 1 to " + strconv.Itoa(maxName) + " letters, digits, underscores or dashes")
}

func plainName(text []byte) bool {
	for _, c := range text {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

func boolean(v value) *mistake {
	if v.kind() != 't' {
		return is("must be true or false")
	}
	return nil
}

func dictionary(v value) *mistake {
	if v.kind() != '{' {
		return is("must be an object")
	}
	return nil
}

// oneOf is a rule for a string of a closed set.
func oneOf(words ...string) rule {
	what := "must be one of " + strings.Join(words, ", ")
	return func(v value) *mistake {
		if slices.ContainsFunc(words, v.is) {
			return nil
		}
		return is(what)
	}
}

// within is a rule for a number, its bounds included.
func within(least, most float64) rule {
	format := func(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
	what := "must be a number from " + format(least) + " to " + format(most)
	return func(v value) *mistake {
		if v.kind() != '0' {
			return is(what)
		}
		if n := v.number(); n < least || n > most {
			return is(what)
		}
		return nil
	}
}

// whole is a rule for an integer, its bounds included. An integer is written as
// one: 1.0 and 1e2 are not, because many readers of a provider refuse them.
func whole(least, most int64) rule {
	what := "must be an integer from " + strconv.FormatInt(least, 10) + " to " + strconv.FormatInt(most, 10)
	if most == unbounded {
		what = "must be an integer of at least " + strconv.FormatInt(least, 10)
	}
	return func(v value) *mistake {
		// A value that is no number is no integer either: "1" has its quotes.
		if n, err := strconv.ParseInt(string(v), 10, 64); err != nil || n < least || n > most {
			return is(what)
		}
		return nil
	}
}

const unbounded = 1<<63 - 1
