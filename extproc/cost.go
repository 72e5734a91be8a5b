package extproc

import (
	"math"
	"strings"

	"github.com/postern-proxy/postern/usage/price"
)

const (
	// usualAnswer is how long an answer is taken to be, in tokens, if the request does
	// not want a shorter one. Answers do not grow with questions; and the longest that a
	// request allows is mostly a bound and no wish.
	usualAnswer = 500
	// pictureTokens is about what a picture of a usual size is charged as.
	pictureTokens = 1000
)

// costs is what requests cost at each target of a route.
type costs struct {
	lists []price.List
	open  []openName // whose names depend on the request
	table *price.Table
}

// openName is a target that is asked for the model by a name that the client gave, or
// that is made of it.
type openName struct {
	place             int
	provider, pattern string
	model             string
}

func newCosts(entry string, targets []target, table *price.Table) *costs {
	c := &costs{table: table, lists: make([]price.List, len(targets))}
	for place, t := range targets {
		model := t.model
		switch pattern := strings.HasSuffix(entry, "*"); {
		case model == "" && !pattern:
			model = entry
		case model == "":
			c.open = append(c.open, openName{place: place, provider: t.provider})
			continue
		case pattern && strings.Contains(model, "*"):
			c.open = append(c.open, openName{place, t.provider, entry, model})
			continue
		}
		c.lists[place] = table.List(t.provider, model)
	}
	return c
}

// of is the price of a request at each target, in dollars; NaN: not known. asked is the
// name that the client gave.
func (c *costs) of(n *need, asked string) []float64 {
	used := price.Tokens{Input: max(0, n.text.likely) + n.pictures*pictureTokens, Output: n.n * usualAnswer}
	if n.answer > 0 {
		used.Output = n.n * min(n.answer, usualAnswer)
	}
	if n.silent {
		used.Output = 0
	}
	all := make([]float64, len(c.lists))
	for place, list := range c.lists {
		all[place] = dollars(list.Cost(used))
	}
	for _, o := range c.open {
		name := asked
		if o.model != "" {
			name = renamed(o.pattern, o.model, asked)
		}
		all[o.place] = dollars(c.table.List(o.provider, name).Cost(used))
	}
	return all
}

func dollars(amount price.Money, known, _ bool) float64 {
	if !known {
		return math.NaN()
	}
	return amount.Dollars()
}
