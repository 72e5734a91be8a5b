package usage

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
)

// Journal is a Consumer that writes each request as one line of JSON: the record for
// whoever settles bills or looks for one request among millions. Lines of one batch
// leave in one write, before the ledger counts them as settled, so that a line is
// missing only if its entry is missing. Where they cannot be written they wait for the
// next batch, as many as mostWaiting has room for; those beyond it are lost and counted.
type Journal struct {
	Out io.Writer
	// Report is told when writing begins to fail, and with nil when it works again. It
	// may be nil.
	Report func(err error)

	mu     sync.Mutex
	lines  bytes.Buffer
	lost   uint64
	writes writes
}

// mostWaiting is how much waits for a disk that is full, in bytes.
const mostWaiting = 4 << 20

var _ Consumer = (*Journal)(nil)

// line is a request as the operator sees it.
type line struct {
	requestView

	Tenant  string `json:"tenant,omitempty"`
	Key     string `json:"key,omitempty"`
	User    string `json:"user,omitempty"`
	Tier    string `json:"tier,omitempty"`
	Route   string `json:"route"`
	Lane    Lane   `json:"lane,omitempty"`
	Stream  bool   `json:"stream"`
	Flags   string `json:"flags,omitempty"`
	Details string `json:"details,omitempty"`
}

// Consume notes one request.
func (j *Journal) Consume(r *Request) {
	text, err := json.Marshal(line{
		requestView: r.view(),
		Tenant:      r.Tenant, Key: r.Key, User: r.User, Tier: r.Tier,
		Route: r.Route, Lane: r.Lane, Stream: r.Stream, Flags: r.Flags, Details: r.Details,
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil || j.lines.Len()+len(text) >= mostWaiting {
		j.lost++
		return
	}
	j.lines.Write(text)
	j.lines.WriteByte('\n')
}

// Flush writes what was noted.
func (j *Journal) Flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lines.Len() == 0 {
		return
	}
	n, err := j.Out.Write(j.lines.Bytes())
	j.lines.Next(n) // the rest goes on where this ended, in the middle of a line or not
	j.writes.note(err, j.Report)
}

// Trouble is how writing goes: how many writes failed; how many lines are lost for good;
// and why the last write failed, or nil.
func (j *Journal) Trouble() (failures, lost uint64, failed error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.writes.failures, j.lost, j.writes.failed
}
