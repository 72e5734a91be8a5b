package matrix

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postern-proxy/postern/test/fake/openai"
)

// With are the requests of an id.
func With(all []openai.Request, id string) []openai.Request {
	return slices.DeleteFunc(all, func(r openai.Request) bool { return r.Header.Get("X-Request-ID") != id })
}

// Lines are the header lines of a request, their names in lower case. A server that
// keeps none gives them by name.
func Lines(r openai.Request) []openai.HeaderLine {
	var all []openai.HeaderLine
	for _, line := range r.Lines {
		all = append(all, openai.HeaderLine{Name: strings.ToLower(line.Name), Value: line.Value})
	}
	if all == nil {
		for name, values := range r.Header {
			for _, value := range values {
				all = append(all, openai.HeaderLine{Name: strings.ToLower(name), Value: value})
			}
		}
	}
	return all
}

// Plainly is all of a request with these header lines, in a form in which two of one kind
// are equal: the lines in order.
func Plainly(r openai.Request, headers []openai.HeaderLine) string {
	var lines []string
	for _, line := range headers {
		lines = append(lines, line.Name+": "+line.Value)
	}
	slices.Sort(lines)
	return fmt.Sprintf("%s %s %s\n%s\n\n%s", r.Method, r.Target, r.Proto, strings.Join(lines, "\n"), r.Body)
}

// ItsOwnOnly holds the headers that a pair's second provider was sent against all that is
// nobody's business there: names that begin like one of families, values with one of
// words. It gives the values by name.
func (m *Matrix) ItsOwnOnly(t *testing.T, p Pair, r openai.Request, families, words []string) map[string]string {
	t.Helper()
	families = append([]string{"x-postern-", "x-envoy-", "x-forwarded-", "x-amzn-", "x-first-"}, families...)
	words = append([]string{"first", strings.TrimPrefix(m.Dead, "http://"), "develop", "key_", "mine", "forged", "203.0.113.9"}, words...)
	names := map[string]string{}
	for _, line := range Lines(r) {
		assert.NotContains(t, names, line.Name, "it came twice")
		names[line.Name] = line.Value
		for _, family := range families {
			assert.False(t, strings.HasPrefix(line.Name, family), "%s: %s", line.Name, line.Value)
		}
		value := strings.ReplaceAll(line.Value, p.String(), "") // its id is the test's own
		for _, word := range words {
			assert.NotContains(t, value, word, line.Name)
		}
	}
	assert.Equal(t, fmt.Sprint(len(r.Body)), names["content-length"])
	assert.Equal(t, "application/json", names["content-type"])
	assert.Equal(t, "kept", names["x-own"])
	return names
}

// AsItsKind holds a request in OpenAI's format by way of both against what its kind says:
// its own secret and no other, path and model.
func (m *Matrix) AsItsKind(t *testing.T, p Pair, r openai.Request, names map[string]string) {
	t.Helper()
	kind := m.Kinds[p.Second]
	credential := cmp.Or(kind.Credential, "authorization")
	assert.Contains(t, names[credential], "secret-of-second-"+p.Second, "its own credential")
	for name, value := range names {
		if name != credential {
			assert.NotContains(t, value, "secret-of-", name)
		}
	}
	assert.Equal(t, cmp.Or(kind.Asked, Path), r.Target)
	assert.Equal(t, cmp.Or(kind.Model, "both-"+p.String()), r.JSON("model").String())
}
