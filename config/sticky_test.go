package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSticky(t *testing.T) {
	for by, header := range map[string]string{"user": "", "key": "", "header:X-Session-Id": "x-session-id", "header:openai-beta": "openai-beta"} {
		c := parse(t, document("", `route: [[{provider: p}]], sticky: "`+by+`"`, ""), Env{})
		assert.Equal(t, by, c.Models["m"].Sticky)
		assert.Equal(t, header, c.Models["m"].Sticks())
	}
	for by, problem := range map[string]string{
		"session":                              "must be user, key or header:NAME",
		"header":                               "must be user, key or header:NAME",
		"Header:x":                             "must be user, key or header:NAME",
		"":                                     "must be user, key or header:NAME",
		"header:":                              "needs the name of a header",
		"header:x session":                     "needs the name of a header",
		"header::path":                         "needs the name of a header",
		"header:x," + strings.Repeat("x", 300): "needs the name of a header",
		"header:" + strings.Repeat("x", 257):   "needs the name of a header",
		"header:Authorization":                 "a request cannot be drawn by this header",
		"header:x-postern-user":                "a request cannot be drawn by this header",
		"header:X-Forwarded-For":               "a request cannot be drawn by this header",
		"header:content-length":                "a request cannot be drawn by this header",
	} {
		problems := refused(t, document("", `route: [[{provider: p}]], sticky: "`+by+`"`, ""), Env{})
		require.Len(t, problems, 1, by)
		assert.Contains(t, problems[0].String(), "models.m.sticky: ")
		assert.Contains(t, problems[0].String(), problem)
	}
}

func TestPrefer(t *testing.T) {
	for _, by := range []string{PreferOrder, PreferCost, PreferLatency} {
		c := parse(t, document("", "route: [[{provider: p}]], prefer: "+by, ""), Env{})
		assert.Equal(t, by, c.Models["m"].Prefer)
	}
	problems := refused(t, document("", "route: [[{provider: p}]], prefer: luck", ""), Env{})
	require.Len(t, problems, 1)
	assert.Contains(t, problems[0].String(), "it can be order, cost, latency")
}
