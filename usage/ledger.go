package usage

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// balance is what a Ledger remembers. Written counts and settled ones are of all
// Envoys and all of our lives since the ledger was begun.
type balance struct {
	Settled  uint64 `json:"settled"`  // entries that were joined and handed out, or given up and counted
	Requests uint64 `json:"requests"` // those of them that are requests
	Written  meter  `json:"written"`  // entries that Envoy wrote or dropped
	Total    meter  `json:"total"`    // requests that ended in Envoy
	Instance string `json:"instance"` // the Envoy that was read last
	Born     int64  `json:"born"`     // its start, in Unix seconds; 0 is not known
	Begun    int64  `json:"begun"`    // the ledger's begin, likewise
	Seen     int64  `json:"seen"`     // when Envoy was read last, likewise
	Read     bool   `json:"read"`     // it was read once
	From     frame  `json:"from"`     // the last frame of records that was settled
	Journal  length `json:"journal"`  // of the journal's file when that was
}

// length is how long a file was. The zero value is of none.
type length struct {
	File uint64 `json:"file"` // its number in the file system, so that another is not taken for it
	Size int64  `json:"size"`
}

// frame is a number of records that came in one piece, from one process of Envoy's.
// Numbers grow. The zero value is none.
type frame struct {
	Sender string `json:"sender"`
	Number uint64 `json:"number"`
}

// Ledger remembers over restarts, in one small file, how many entries of the access
// log were settled. Each change is written at once and in place, in a single write of
// constant length: that survives the process's death (not the machine's), and costs
// about a microsecond a batch.
type Ledger struct {
	mu      sync.Mutex
	file    *os.File // nil: in memory only
	balance balance
	before  balance // at this life's begin
	writes  writes
	report  func(error)
	journal *os.File         // nil: there is none, or it is no ordinary file
	padded  [ledgerSize]byte // what is written

	// Of this life: handed out, come, requests of those that came, and dropped
	// (duplicates, orphans, skipped).
	requests, entries, came, cameRequests, dropped uint64
}

// ledgerSize is the file's length: the JSON is padded with spaces.
const ledgerSize = 1024

// OpenLedger opens or begins a ledger. An empty name is one in memory, which forgets.
// A file that is damaged is begun anew, because a missing count must not stop a gate;
// renewed says so.
func OpenLedger(name string) (l *Ledger, renewed bool, err error) {
	l = &Ledger{balance: balance{Begun: time.Now().Unix()}}
	if name == "" {
		return l, false, nil
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's own data folder
	if err != nil {
		return nil, false, fmt.Errorf("the usage ledger: %w", err)
	}
	text := make([]byte, ledgerSize)
	if n, _ := file.ReadAt(text, 0); n > 0 {
		begun := l.balance.Begun
		renewed = json.Unmarshal(text[:n], &l.balance) != nil
		if renewed {
			l.balance = balance{Begun: begun}
		}
	}
	l.file, l.before = file, l.balance
	return l, renewed, nil
}

// Close closes the file. It may be called twice.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// Trouble is how writing goes: how many writes failed, and why the last did, or nil. The
// next one writes all of it, so nothing is lost unless the process dies before.
func (l *Ledger) Trouble() (failures uint64, failed error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes.failures, l.writes.failed
}

// Report has f told when writing begins to fail, and with nil when it works again.
func (l *Ledger) Report(f func(error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report = f
}

// has says that a frame was settled already: what is sent again to a life that came
// after.
func (l *Ledger) has(f frame) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.balance.From.Sender == f.Sender && f.Number <= l.balance.From.Number
}

// settle takes what was handed out just now, and the joiner's counts of this life. from
// is the frame that it was made of, if it was one.
func (l *Ledger) settle(requests, entries uint64, s Stats, from frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests += requests
	l.entries += entries
	l.came = max(l.came, s.Requests+s.Attempts+s.Duplicates+s.Skipped)
	l.cameRequests = max(l.cameRequests, s.Requests)
	l.dropped = max(l.dropped, s.Duplicates+s.Orphans+s.Skipped)
	settled := l.before.Settled + l.entries + l.dropped
	if settled == l.balance.Settled && from == (frame{}) {
		return
	}
	if from != (frame{}) {
		l.balance.From = from
	}
	l.balance.Journal = lengthOf(l.journal)
	l.balance.Settled, l.balance.Requests = settled, l.before.Requests+l.requests
	l.write()
}

// received is all that came: what was settled and what still waits to be.
func (l *Ledger) received() uint64 { return max(l.before.Settled+l.came, l.balance.Settled) }

// receivedRequests are those of them that are requests.
func (l *Ledger) receivedRequests() uint64 {
	return max(l.before.Requests+l.cameRequests, l.balance.Requests)
}

// write puts the balance into the file.
func (l *Ledger) write() {
	if l.file == nil {
		return
	}
	text, err := json.Marshal(l.balance)
	if err == nil {
		n := copy(l.padded[:], text)
		for i := n; i < len(l.padded); i++ {
			l.padded[i] = ' '
		}
		_, err = l.file.WriteAt(l.padded[:], 0)
	}
	l.writes.note(err, l.report)
}
