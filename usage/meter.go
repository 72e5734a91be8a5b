package usage

// meter is a counter of Envoy's that begins at 0 with each Envoy, summed over all of
// them.
type meter struct {
	Base    uint64 `json:"base"`    // by the one that runs, before the ledger was begun
	Carried uint64 `json:"carried"` // by Envoys that are gone
	Last    uint64 `json:"last"`    // by the one that runs, as of the last reading
	Before  uint64 `json:"before"`  // the sum as of the reading before
	Came    uint64 `json:"came"`    // what had come by the last reading
}

func (m *meter) total() uint64 { return m.Carried + less(m.Last, m.Base) }

// begin takes the first reading of an Envoy that had counted before: nothing is missing.
func (m *meter) begin(now, came uint64) {
	*m = meter{Base: less(now, came), Last: now, Came: came}
}

// read takes the counter's value, and how much had come by then. What an Envoy that is
// gone counted after its last reading is what came since, without what may be its
// successor's and without what was already counted and on its way. A value that fell a
// little was read while it was counted up: the one before stands.
func (m *meter) read(now, came uint64, restarted bool) {
	total := m.total()
	if restarted {
		lastWords := less(less(came, m.Came), now)
		lost := less(m.Before, m.Came) // was not on its way any more
		onItsWay := less(less(total, m.Came), lost)
		m.Carried, m.Last, m.Base = total+less(lastWords, onItsWay), 0, 0
	}
	m.Before, m.Last, m.Came = total, max(now, m.Last), came
}

// less is a-b, and 0 rather than below.
func less(a, b uint64) uint64 { return a - min(a, b) }
