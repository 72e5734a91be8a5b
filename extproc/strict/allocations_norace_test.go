//go:build !race

package strict_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/extproc/strict"
)

func TestAllocationsOfARightRequest(t *testing.T) {
	text := conversation(1000, 170)
	fields, err := body.Scan(text)
	require.NoError(t, err)
	require.Nil(t, strict.Chat(fields, text))
	// The list of the tools' names is the one thing that is kept.
	const ceiling = 2
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { strict.Chat(fields, text) }), float64(ceiling))
}
