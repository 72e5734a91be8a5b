package envoy

import (
	"regexp"
	"strings"
)

// reasonLimit is the longest reason that is shown, in bytes.
const reasonLimit = 600

// Envoy answers a bad configuration with the reason wrapped in the whole message
// it read, which may be long and may hold secrets. These find the reason alone,
// the surest first.
var reasons = []*regexp.Regexp{
	regexp.MustCompile("(?m)Proto constraint validation failed \\((.*?)\\)(?:`|\\s*$)"),
	regexp.MustCompile(`(?s)Unable to parse JSON as proto \((?:INVALID_ARGUMENT: )?(.*?)\): `),
	regexp.MustCompile(`(?s)Protobuf message \(type \S+ reason (?:INVALID_ARGUMENT: )?(.*?)\) has unknown fields`),
	regexp.MustCompile("(?s)error `(.*?)` initializing config"),
	regexp.MustCompile(`error initializing configuration '[^']*': (.*)`),
	regexp.MustCompile(`(?m)^(?:\S+ )?critical(?: \S+)?: (.*)$`),
	regexp.MustCompile(`(?m)^(?:\S+ )?error(?: \S+)?: (.*)$`),
}

// reason is the one sentence in what Envoy printed that says why it gave up; "" if
// it printed nothing.
func reason(printed string) string {
	for _, pattern := range reasons {
		if all := pattern.FindAllStringSubmatch(printed, -1); all != nil {
			return tidy(all[len(all)-1][1])
		}
	}
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	return tidy(lines[len(lines)-1])
}

// tidy brings a reason into one short line. Envoy varies the white space in it at
// random, so that nobody should rely on it.
func tidy(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	text = fieldPath(text)
	if len(text) > reasonLimit {
		text = strings.ToValidUTF8(text[:reasonLimit], "") + "…"
	}
	return text
}

// fieldPath turns a chain of validation errors, outermost first,
//
//	BootstrapValidationError.StaticResources: embedded message failed validation |
//	caused by ClusterValidationError.Name: value length must be at least 1 characters
//
// into the place and the fault: "StaticResources.Name: value length must be …".
func fieldPath(text string) string {
	links := strings.Split(text, " | caused by ")
	var path []string
	for i, link := range links {
		place, fault, ok := strings.Cut(link, ": ")
		_, field, named := strings.Cut(place, "ValidationError.")
		if !ok || !named {
			return text
		}
		path = append(path, field)
		if i == len(links)-1 {
			return strings.Join(path, ".") + ": " + fault
		}
	}
	return text
}
