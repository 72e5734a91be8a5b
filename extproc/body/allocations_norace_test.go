//go:build !race

package body_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postern-proxy/postern/extproc/body"
)

func TestAllocationsOfAScan(t *testing.T) {
	for _, size := range []int{300, 200 << 10} {
		text := conversation(size)
		allocs := testing.AllocsPerRun(50, func() { _, _ = body.Scan(text) })
		assert.LessOrEqual(t, allocs, 12.0, "%d bytes", size)
	}
}
