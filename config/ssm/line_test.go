package ssm

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postern-proxy/postern/config/set"
)

// Going back on and on walks down the numbers though the records of what it walks along
// go by and by, and ends where nothing is remembered: never by going forth.
func TestGoingBackFurtherThanTheHistory(t *testing.T) {
	id := func(n int) string { return fmt.Sprintf("%06d-abcdef", n) }
	var records []set.Record // the newest first
	record := func(r set.Record) {
		r.Change = 1
		if len(records) > 0 {
			r.Change, r.From = records[0].Change+1, records[0].Set
		}
		records = append([]set.Record{r}, records...)[:min(len(records)+1, Kept)]
	}
	for n := range 150 {
		record(set.Record{Kind: "push", Set: id(n + 1)})
	}
	for n := 149; n > 0; n-- {
		now := State{Pointer: set.Pointer{Set: records[0].Set, Change: records[0].Change}}
		sets := line(records, now)
		if len(sets) < 2 {
			assert.Equal(t, 99, n, "half of the history is rollbacks by then")
			return
		}
		assert.Equal(t, id(n), sets[len(sets)-2])
		record(set.Record{Kind: "rollback", Set: sets[len(sets)-2]})
	}
}
