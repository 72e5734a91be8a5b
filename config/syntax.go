package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlError is how the YAML library says where a text stops being YAML.
var yamlError = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// syntax reports what the YAML library could not read. Its words are kept, except
// where they would repeat a piece of the document.
func (r *report) syntax(text []byte, err error) {
	parts := yamlError.FindStringSubmatch(err.Error())
	if parts == nil {
		r.problemf("", "is not YAML")
		return
	}
	message := parts[2]
	if strings.HasPrefix(message, "unknown anchor") {
		message = "an alias (*name) has no anchor (&name) before it"
	}
	line := culprit(text)
	if line == 0 {
		line, _ = strconv.Atoi(parts[1]) // 0 where it names none
	}
	if flowReference(text, line) {
		message += `; inside { } or [ ] a reference needs quotes: "${NAME}"`
	}
	r.marks[""] = mark{line: line}
	r.problemf("", "is not YAML: %s", message)
}

// culprit is the line with which a text stops being YAML, from 1. The library names
// the line where the mapping around it begins, which may be far above. 0 for texts
// too large to be read a few dozen times.
func culprit(text []byte) int {
	const largest = 32 << 10
	if len(text) > largest {
		return 0
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	good, bad := 0, len(lines)
	for good+1 < bad {
		middle := (good + bad) / 2
		if further := readable(lines, middle, bad); further > 0 {
			good = further
		} else {
			bad = middle
		}
	}
	return bad
}

// readable is the first count of lines, from here on and before the bad one, that is
// YAML; 0 if there is none close by. It looks further than here because a text cut
// inside { } or quotes is not YAML, and yet has no mistake.
func readable(lines [][]byte, here, bad int) int {
	const far = 8
	for n := here; n < min(here+far, bad); n++ {
		var node yaml.Node
		err := yaml.NewDecoder(bytes.NewReader(bytes.Join(lines[:n], nil))).Decode(&node)
		if err == nil || errors.Is(err, io.EOF) {
			return n
		}
	}
	return 0
}

// bareReference is a ${…} without quotes inside { } or [ ], where its brace ends
// the text for YAML: the most common mistake of documents with references.
var bareReference = regexp.MustCompile(`[{\[,].*:\s*[^"'\s]*\$\{`)

// flowReference says that a line has a bareReference.
func flowReference(text []byte, line int) bool {
	lines := bytes.Split(text, []byte("\n"))
	return line > 0 && line <= len(lines) && bareReference.Match(lines[line-1])
}
