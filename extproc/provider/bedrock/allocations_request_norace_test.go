//go:build !race

package bedrock_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/extproc/provider/bedrock"
)

func TestAllocationsOfARequest(t *testing.T) {
	in := bedrock.Input{Path: "/v1/chat/completions", Model: sonnet, Body: []byte(typical)}
	_, err := bedrock.Request(in)
	require.NoError(t, err)
	allocs := testing.AllocsPerRun(50, func() { _, _ = bedrock.Request(in) })
	assert.LessOrEqual(t, allocs, 45.0)
}
