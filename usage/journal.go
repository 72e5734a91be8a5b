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
// missing only if its entry is missing.
type Journal struct {
	Out io.Writer

	mu     sync.Mutex
	lines  bytes.Buffer
	failed error
}

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
	if err != nil {
		j.failed = err
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
	_, j.failed = j.Out.Write(j.lines.Bytes())
	j.lines.Reset()
}

// Err is why the last lines could not be written; nil if they were.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}
