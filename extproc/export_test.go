package extproc

// PlanOf is a plan with stages of a test's own.
func PlanOf(version string, entries map[string][]Stage) *Plan {
	return &Plan{version: version, entries: entries}
}

// Version is the plan's.
func (p *Plan) Version() string { return p.version }

// What tests of the budget need to see.
var (
	Take = (*Budget).take
	Give = (*Budget).give
)

// Copies is how often the budget counts a body.
const Copies = copies

// Kept is how many versions a History remembers.
const Kept = kept

// TokensOf counts a text.
func TokensOf(text []byte) (least, likely, most int64) {
	t := tokensOf(text)
	return t.least, t.likely, t.most
}
