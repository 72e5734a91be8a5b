package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHold(t *testing.T) {
	c := parse(t, document("", "route: [[{provider: p}]], hold: first_event", ""), Env{})
	assert.True(t, c.Models["m"].Holds())
	c = parse(t, document("", "route: [[{provider: p}]]", ""), Env{})
	assert.False(t, c.Models["m"].Holds())
	assert.False(t, c.Models["no such model"].Holds())
	for _, until := range []string{`""`, "headers", "first_byte", "FIRST_EVENT"} {
		problems := refused(t, document("", "route: [[{provider: p}]], hold: "+until, ""), Env{})
		require.Len(t, problems, 1, until)
		assert.Contains(t, problems[0].String(), "models.m.hold: ")
		assert.Contains(t, problems[0].String(), "first_event")
	}
}
