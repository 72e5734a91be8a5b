//go:build !race

package usage

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What an entry costs is mostly what it allocates: its Request, its id, the list of its
// attempts, the text of its usage object, and a few more inside of the JSON's parser.
func TestAllocationsOfAnEntry(t *testing.T) {
	const entries, runs = 50, 100
	s, texts := working(t, runs+101, entries)
	var from reader
	next := 0
	take := func() {
		s.take(&from, texts[next])
		next++
	}
	for range 100 { // maps grow, series are made
		take()
	}
	each := testing.AllocsPerRun(runs, take) / entries
	t.Logf("%.2f allocations an entry", each)
	assert.LessOrEqual(t, each, 6.0)
	assert.EqualValues(t, next*entries, s.Stats().Requests)
	assert.Zero(t, s.Stats().Skipped)
}
