package extproc

import "sync/atomic"

const (
	// copies is how often a body may lie in memory at once: as it came from the
	// wire, as the message it became, as the edited one, as that one on the wire,
	// and as garbage that is not collected yet.
	copies = 5
	// maxBody is what a body of unknown length is taken for, in bytes.
	maxBody = 64 << 20
	// DefaultBudget is the room for bodies, in bytes, where nobody says otherwise.
	DefaultBudget = 512 << 20
)

// Budget bounds the bytes that all bodies together may take, so that a burst of
// large requests is refused while there is still memory to refuse it with. The
// zero value has room for nothing. It is safe for concurrent use and has no lock.
type Budget struct {
	limit atomic.Int64
	taken atomic.Int64
}

// NewBudget has room for limit bytes.
func NewBudget(limit int64) *Budget {
	b := &Budget{}
	b.Resize(limit)
	return b
}

// Resize changes the limit. What is held stays held.
func (b *Budget) Resize(limit int64) { b.limit.Store(limit) }

// Taken is how many bytes are held now.
func (b *Budget) Taken() int64 { return b.taken.Load() }

// take reserves n bytes; false if there is no room for them.
func (b *Budget) take(n int64) bool {
	if b.taken.Add(n) <= b.limit.Load() {
		return true
	}
	b.taken.Add(-n)
	return false
}

func (b *Budget) give(n int64) { b.taken.Add(-n) }
