package usage

import (
	"fmt"
	"os"
	"syscall"
)

// Keep has the ledger know how long the journal's file is whenever it writes, and takes
// out of the file what a Postern that was killed had written to it and not settled: the
// ledger counts that as not come, and where it is sent again it is written again. A file
// that was begun anew, replaced or cut meanwhile is left as it is. Call it before the
// first request.
func (l *Ledger) Keep(journal *os.File) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	info, err := journal.Stat()
	if err != nil {
		return fmt.Errorf("the usage log: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	l.journal = journal
	then, now := l.balance.Journal, lengthOf(journal)
	if then.File != now.File || then.Size >= now.Size || then == (length{}) {
		return nil
	}
	if err := journal.Truncate(then.Size); err != nil {
		return fmt.Errorf("the usage log: %w", err)
	}
	return nil
}

// lengthOf is the file's now.
func lengthOf(file *os.File) length {
	if file == nil {
		return length{}
	}
	info, err := file.Stat()
	if err != nil {
		return length{}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return length{}
	}
	return length{File: stat.Ino, Size: info.Size()}
}
