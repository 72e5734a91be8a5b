package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockFolder waits until no other Postern changes a file of a folder, so that of two
// changes at one time none is lost. The folder and not the file: a changed file is
// another one. Where the file system knows no locks there is none.
func lockFolder(ctx context.Context, name string) (unlock func(), err error) {
	folder, err := os.Open(name) //nolint:gosec // of the file that the operator names
	if err != nil {
		return nil, fmt.Errorf("the folder %s cannot be read", name)
	}
	unlock = func() { _ = folder.Close() } // which gives the lock back
	for {
		err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return unlock, nil
		}
		select {
		case <-ctx.Done():
			unlock()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// replaceFile puts a new text in the place of an old one, at once, and with its owner
// and mode. It is refused where the file has another text meanwhile: an editor asks for
// no lock.
func replaceFile(name string, before, after []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(name), ".postern-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // gone already if all went well
	err = furnishLike(temporary, info, after)
	unowned := errors.Is(err, errOwner)
	if err != nil && !unowned {
		return err
	}
	//nolint:gosec // the operator names the file
	if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, before) {
		return fmt.Errorf("%s: was changed at the same time: nothing of yours is in it; look at it, then try again", name)
	}
	if !unowned {
		err = os.Rename(temporary.Name(), name)
	}
	if unowned || errors.Is(err, syscall.EBUSY) {
		// Who reads it must go on being able to, and a file that a container was
		// given cannot be replaced: then it is not done at once.
		return os.WriteFile(name, after, info.Mode().Perm())
	}
	return err
}

// errOwner says that this user may not make a file somebody else's.
var errOwner = errors.New("the owner cannot be kept")

// furnishLike gives a new file its text, and the owner and mode of another.
func furnishLike(file *os.File, like fs.FileInfo, text []byte) error {
	_, err := file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if owner, ok := like.Sys().(*syscall.Stat_t); ok && err == nil {
		own, statErr := file.Stat()
		if statErr != nil {
			return errors.Join(statErr, file.Close())
		}
		mine := own.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // as its like
		if (mine.Uid != owner.Uid || mine.Gid != owner.Gid) && file.Chown(int(owner.Uid), int(owner.Gid)) != nil {
			err = errOwner
		}
	}
	if err == nil {
		err = file.Chmod(like.Mode().Perm()) // behind chown, which may change it
	}
	return errors.Join(err, file.Close())
}
