package ssm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config/set"
)

// changes are those of a store, without the store.
type changes struct {
	records []set.Record // the newest first
}

func setID(n int) string { return fmt.Sprintf("%06d-abcdef", n) }

func (c *changes) add(kind, id string) {
	r := set.Record{Kind: kind, Set: id, Change: 1}
	if len(c.records) > 0 {
		r.Change, r.From = c.records[0].Change+1, c.records[0].Set
	}
	c.records = append([]set.Record{r}, c.records...)[:min(len(c.records)+1, Kept)]
}

// back is what a rollback without a number goes to; "" if it has nowhere to go.
func (c *changes) back() string {
	sets := line(c.records, State{Pointer: set.Pointer{Set: c.records[0].Set, Change: c.records[0].Change}})
	if len(sets) < 2 {
		return ""
	}
	return sets[len(sets)-2]
}

// Going back follows what was in force, not the numbers: a set that somebody left by
// going back comes back by its name alone.
func TestGoingBack(t *testing.T) {
	for name, steps := range map[string]string{
		"one further each time":            "push 1, push 2, push 3, back 2, back 1, back 0",
		"never to what was left":           "push 1, push 2, push 3, back 2, push 4, back 2, back 1, back 0",
		"nor over several":                 "push 1, push 2, back 1, push 3, back 1, push 4, push 5, back 4, back 1, back 0",
		"from a named one":                 "push 1, push 2, push 3, push 4, to 2, back 1, back 0",
		"from one that was left and named": "push 1, push 2, push 3, back 2, to 3, back 2, back 1, back 0",
		"after a push on a named one":      "push 1, push 2, push 3, to 1, push 4, back 1, back 0",
		"and forth":                        "push 1, push 2, back 1, to 2, back 1, to 2, push 3, back 2, back 1, back 0",
	} {
		t.Run(name, func(t *testing.T) {
			var c changes
			for step := range strings.SplitSeq(steps, ", ") {
				verb, number, _ := strings.Cut(step, " ")
				n, err := strconv.Atoi(number)
				require.NoError(t, err)
				switch {
				case verb == "push":
					c.add("push", setID(n))
				case n == 0:
					assert.Empty(t, c.back(), step)
				case verb == "back":
					require.Equal(t, setID(n), c.back(), step)
					c.add("rollback", setID(n))
				default:
					c.add("rollback", setID(n))
				}
			}
		})
	}
}

// Going back on and on walks down the numbers though the records of what it walks along
// go by and by, and ends where nothing is remembered: never by going forth.
func TestGoingBackFurtherThanTheHistory(t *testing.T) {
	var c changes
	for n := range 150 {
		c.add("push", setID(n+1))
	}
	for n := 149; ; n-- {
		id := c.back()
		if id == "" {
			assert.Equal(t, 99, n, "half of the history is rollbacks by then")
			return
		}
		require.Equal(t, setID(n), id)
		c.add("rollback", id)
	}
}
