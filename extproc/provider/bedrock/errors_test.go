package bedrock

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postern-proxy/postern/fault"
)

func TestTheNamesOfExceptions(t *testing.T) {
	for name, want := range map[string]string{
		"ThrottlingException": "throttling",
		"throttlingException": "throttling",
		"ThrottlingException:http://internal.amazon.com/coral/": "throttling",
		"com.amazon.coral.validate#ValidationException":         "validation",
		"aws.bedrock/ModelTimeoutException":                     "modeltimeout",
		"ExpiredToken":                                          "expiredtoken",
		"ServiceUnavailable":                                    "serviceunavailable",
		"":                                                      "",
		"exception":                                             "",
		":":                                                     "",
	} {
		assert.Equal(t, want, exception(name), name)
	}
}

// Some kinds' own sentences are about the gateway or the client's key, and would be
// wrong of the provider.
func TestNoRefusalBlamesTheWrongOne(t *testing.T) {
	rows := map[string]refusal{}
	for name, row := range refusals {
		rows[name] = row
		assert.Equal(t, exception(name), name, "is never looked up")
	}
	for status := range 600 {
		rows[strings.Repeat("x", status)] = byStatus(status)
	}
	for name, row := range rows {
		switch row.kind {
		case fault.RateLimited, fault.ModelNotFound, fault.Unavailable:
			assert.NotEmpty(t, row.message, name)
		case fault.Internal, fault.InvalidKey, fault.Forbidden, fault.RequestTimeout:
			assert.Fail(t, "a kind that is about the client or the gateway", name)
		default:
		}
	}
}

func TestScrub(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "",
		"a\tb\r\nc\x00\x1b[2J":                   "a b c [2J",
		"\u202eabc\u200b \xff":                   "abc",
		"x arn:aws-us-gov:iam::1:role/r y":       "x (hidden) y",
		`"arn:aws:iam::1:role/r", 123456789012.`: `"(hidden)", (hidden).`,
		"1234567890123 12345678901":              "1234567890123 12345678901",
		"ASIAQWERTYUIOPASDFGH":                   "(hidden)",
	} {
		assert.Equal(t, want, scrub(text), "%q", text)
	}
	long := scrub(strings.Repeat("ä", 5000))
	assert.LessOrEqual(t, len(long), mostSaid+len("…"))
	assert.True(t, strings.HasSuffix(long, "ä…"))
}

func TestAppendEscapedIsJSON(t *testing.T) {
	for _, text := range []string{"", `a"b\c`, "\n\t\x00\x1f", "é😀\u2028", "\xff\xc3(", "</script>"} {
		assert.True(t, validJSON(appendString(nil, text)), "%q", text)
		assert.Equal(t, appendString(nil, text), appendString(nil, []byte(text)))
	}
	assert.Equal(t, `"a\"\\\n\u0001é\ufffd"`, strings.ReplaceAll(string(appendString(nil, "a\"\\\n\x01é\xff")), "\ufffd", `\ufffd`))
}
