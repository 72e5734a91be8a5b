package config

import (
	"errors"
	"regexp"
	"strings"
)

// variable is a reference to the environment, or a "${" that should have been one;
// "$${" comes first because it is how a literal "${" is written.
var variable = regexp.MustCompile(`\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^{}]*))?\}|\$\{`)

// expand replaces ${NAME} and ${NAME:-default} in a text. As in a shell, the default
// also stands in for a variable that is set and empty. missing names the variables
// that are unset and have no default.
func expand(text string, lookup func(string) (string, bool)) (expanded string, missing []string, err error) {
	var b strings.Builder
	end := 0
	for _, m := range variable.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(text[end:m[0]])
		end = m[1]
		switch {
		case text[m[0]:m[1]] == "$${":
			b.WriteString("${")
		case m[2] < 0:
			return "", nil, errors.New("has a ${ that is no reference: write ${NAME} or ${NAME:-default}, or $${ for the characters themselves")
		default:
			value, ok := lookup(text[m[2]:m[3]])
			hasDefault := m[4] >= 0
			switch {
			case hasDefault && value == "":
				value = text[m[6]:m[7]]
			case !ok && !hasDefault:
				missing = append(missing, text[m[2]:m[3]])
			}
			b.WriteString(value)
		}
	}
	b.WriteString(text[end:])
	return b.String(), missing, nil
}
