package hold_test

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// TestItIsSwitchedOnAndOff while the gate runs, and a stream that has begun goes on.
func TestItIsSwitchedOnAndOff(t *testing.T) {
	h := open(t)
	with, err := os.ReadFile(h.File)
	require.NoError(t, err)
	without := strings.ReplaceAll(string(with), "hold: first_event, ", "")
	h.a.ForUser("cut", fake.BreakOff(fake.Close))
	cut := strings.Replace(chat("held", true), "{", `{"user":"cut",`, 1)
	next := make(chan struct{})
	h.a.ForUser("long", fake.Behavior{Gate: next, Content: "one two three four"})
	long, err := h.begin(t.Context(), strings.Replace(chat("held", true), "{", `{"user":"long",`, 1))
	require.NoError(t, err)
	defer long.Body.Close()
	r := bufio.NewReader(long.Body)
	event(t, r)
	for text, from := range map[string]string{without: "a", string(with): "b"} {
		h.Write(t, text)
		require.Eventually(t, func() bool {
			got, err := h.try(t.Context(), cut)
			require.NoError(t, err)
			require.NoError(t, h.well(t))
			return got.from == from
		}, patience, glance)
		next <- struct{}{}
		event(t, r)
	}
	close(next)
	for text := ""; text != "data: [DONE]\n\n"; {
		text = event(t, r)
	}
	assert.Equal(t, 200, long.StatusCode)
}

// well has a give one good answer, so that Envoy goes on asking it.
func (h *house) well(t *testing.T) error {
	t.Helper()
	got, err := h.try(t.Context(), chat("held", false))
	if err == nil {
		assert.Equal(t, 200, got.status)
	}
	return err
}
