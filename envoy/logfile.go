package envoy

import (
	"errors"
	"os"
	"sync"
)

// LogFileSize is where a log file is rotated, in bytes: with the one old file that
// is kept, a log takes twice as much.
const LogFileSize = 10 << 20

// LogFile is a log of bounded size: at its limit the file is renamed to name.1,
// which replaces the one before, and a new one is begun. Writes of several
// goroutines do not mix.
type LogFile struct {
	path  string
	limit int64

	mu     sync.Mutex
	file   *os.File // nil when it could not be opened again after a rotation
	size   int64
	closed bool
}

// OpenLogFile opens a log for appending, with mode 0600, and makes it if need be.
func OpenLogFile(path string) (*LogFile, error) {
	log := &LogFile{path: path, limit: LogFileSize}
	if err := log.open(); err != nil {
		return nil, err
	}
	return log, nil
}

// Write appends, after rotating if the text does not fit. It never splits a text
// over two files.
func (l *LogFile) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, os.ErrClosed
	}
	if l.file != nil && l.size > 0 && l.size+int64(len(text)) > l.limit {
		l.setAside()
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(text)
	l.size += int64(n)
	return n, err
}

// Close closes the file; a second time does nothing.
func (l *LogFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	return file.Close()
}

// setAside renames the full file. Where that fails, the same file is opened again
// and grows past its limit: a long log is better than none.
func (l *LogFile) setAside() {
	_ = l.file.Close()
	l.file = nil
	_ = os.Rename(l.path, l.path+".1")
}

func (l *LogFile) open() error {
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.size = file, info.Size()
	return nil
}
