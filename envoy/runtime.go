package envoy

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// socketPathLimit is the longest path of a Unix socket in bytes that every
	// system takes: 104 with the final zero on macOS, 108 on Linux.
	socketPathLimit = 103
	// SocketNameLimit is the longest file name in bytes that fits into a folder of
	// RuntimeFolder.
	SocketNameLimit = 24
)

// RuntimeFolder gives a folder of mode 0700 for the sockets of one running Postern,
// absolute, in which file names up to SocketNameLimit are short enough for a socket:
// dataDir/run, or where that is too long a new folder among the temporary ones.
//
// The data folder is locked until cleanup, because two Posterns on one folder would
// take each other's sockets; the second gets an error of one sentence. The kernel
// drops the lock with the process, so a killed Postern leaves none. Sockets that a
// killed one left in dataDir/run are removed. Cleanup may be called twice.
func RuntimeFolder(dataDir string) (path string, cleanup func(), err error) {
	run, err := filepath.Abs(filepath.Join(dataDir, "run"))
	if err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(run, 0o700); err != nil {
		return "", nil, fmt.Errorf("the data folder cannot be made: %w", err)
	}
	// It may be older and open to others.
	if err := os.Chmod(run, 0o700); err != nil { //nolint:gosec // a folder needs its x
		return "", nil, fmt.Errorf("the data folder cannot be made private: %w", err)
	}
	lock, err := lockFolder(run, dataDir)
	if err != nil {
		return "", nil, err
	}
	if fits(run) {
		removeSockets(run)
		return run, func() { _ = lock.Close() }, nil
	}
	short, err := shortFolder()
	if err != nil {
		return "", nil, errors.Join(err, lock.Close())
	}
	return short, func() { _ = os.RemoveAll(short); _ = lock.Close() }, nil
}

// lockFolder takes the lock; closing the file gives it back.
func lockFolder(run, dataDir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(run, "lock"), os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator chooses the folder
	if err != nil {
		return nil, fmt.Errorf("the data folder cannot be written: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == nil:
		return file, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, errors.Join(fmt.Errorf("another Postern is running with the data folder %s", dataDir), file.Close())
	default:
		return nil, errors.Join(fmt.Errorf("the data folder %s cannot be locked: %w", dataDir, err), file.Close())
	}
}

// removeSockets clears a folder we hold the lock of from the sockets of a dead owner. One
// that answers belongs to an Envoy that somebody else runs, and that lives on.
func removeSockets(folder string) {
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if entry.Type()&fs.ModeSocket == 0 {
			continue
		}
		if connection, err := (&net.Dialer{Timeout: time.Second}).Dial("unix", path); err == nil {
			_ = connection.Close()
			continue
		}
		_ = os.Remove(path)
	}
}

// shortFolder makes a private folder whose sockets have short paths.
func shortFolder() (string, error) {
	for _, parent := range []string{os.TempDir(), "/tmp"} {
		folder, err := os.MkdirTemp(parent, "postern-") // mode 0700
		if err != nil {
			continue
		}
		if fits(folder) {
			return folder, nil
		}
		_ = os.Remove(folder)
	}
	return "", errors.New("there is no folder whose path is short enough for Unix sockets: choose a shorter data folder or TMPDIR")
}

func fits(folder string) bool { return len(folder)+1+SocketNameLimit <= socketPathLimit }

// checkSocketPath refuses what Envoy would refuse later and less clearly.
func checkSocketPath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("the socket path %q is not absolute", path)
	}
	if len(path) > socketPathLimit {
		return fmt.Errorf("the socket path %q is longer than %d bytes", path, socketPathLimit)
	}
	return nil
}
