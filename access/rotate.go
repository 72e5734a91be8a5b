package access

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// earlierFolder holds the public halves of signing keys from before, <kid>.pem: the keys
// that they signed are good until they are retired.
const earlierFolder = "earlier"

const pemPublic = "PUBLIC KEY" // PKIX

// maxEarlier bounds them: each is one more that Envoy holds.
const maxEarlier = 32

// Rotate makes a new signing key for a data folder, and keeps the public half of the one
// before, so that what it signed stays good until it is retired. It gives the ids
// of both. Errors are one sentence for the operator.
func Rotate(data string) (old, now string, err error) {
	unlock, err := lock(data)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	before, err := Load(data)
	if err != nil {
		return "", "", err
	}
	if len(before.earlier) >= maxEarlier {
		return "", "", fmt.Errorf("there are %d earlier signing keys: retire some first (postern keys retire)", maxEarlier)
	}
	// First the public half: whoever looks in between finds the key twice, and never
	// misses one.
	if err := keepPublic(data, before.kid, before.key.public); err != nil {
		return "", "", err
	}
	path := signingPath(data)
	text, err := newSigningKey()
	if err != nil {
		return "", "", err
	}
	if err := writePrivate(path, text, os.Rename); err != nil {
		return "", "", err
	}
	after, err := Load(data)
	if err != nil {
		return "", "", err
	}
	return before.kid, after.kid, nil
}

// Retire takes an earlier signing key away: what it signed is good no more. Errors are one
// sentence for the operator.
func Retire(data, kid string) error {
	unlock, err := lock(data)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := Load(data)
	if err != nil {
		return err
	}
	switch {
	case kid == s.kid:
		return fmt.Errorf("%s signs now: make another first (postern keys rotate)", kid)
	case s.earlier[kid] == nil && len(s.earlier) == 0:
		return fmt.Errorf("there is no signing key %s, and none from before %s", kid, s.kid)
	case s.earlier[kid] == nil:
		return fmt.Errorf("there is no signing key %s; from before %s there are %s", kid, s.kid, strings.Join(s.Earlier(), ", "))
	}
	if err := os.Remove(filepath.Join(earlierPath(data), kid+".pem")); err != nil {
		return fmt.Errorf("the signing key could not be retired: %w", err)
	}
	return nil
}

// Watch tells of each change of a data folder's signing keys, beside those of current,
// until ctx ends: within a second, or three where the file system tells of nothing.
// An error is told once, and until it is over what was told before stays good. notify is
// called from this goroutine.
func Watch(ctx context.Context, data string, current *Signer, notify func(*Signer, error)) {
	var events <-chan fsnotify.Event
	if watcher, err := fsnotify.NewWatcher(); err == nil {
		defer func() { _ = watcher.Close() }() // nothing to save
		_ = os.MkdirAll(earlierPath(data), 0o700)
		if errors.Join(watcher.Add(filepath.Join(data, folder)), watcher.Add(earlierPath(data))) == nil {
			events = watcher.Events
		}
	}
	const settle, poll = 20 * time.Millisecond, 3 * time.Second
	known, failed := string(current.JWKS()), ""
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-events:
			if !open {
				events = nil
			}
			timer.Reset(settle)
			continue
		case <-timer.C:
			timer.Reset(poll)
		}
		next, err := Load(data)
		switch {
		case err != nil:
			if failed != err.Error() {
				failed = err.Error()
				notify(nil, err)
			}
		case string(next.JWKS()) != known || failed != "":
			known, failed = string(next.JWKS()), ""
			notify(next, nil)
		}
	}
}

// Earlier are the ids of the signing keys from before whose keys are still good, in order.
func (s *Signer) Earlier() []string { return slices.Sorted(maps.Keys(s.earlier)) }

func signingPath(data string) string { return filepath.Join(data, folder, signingFile) }
func earlierPath(data string) string { return filepath.Join(data, folder, earlierFolder) }

// lock keeps others from rotating and retiring at the same time.
func lock(data string) (unlock func(), err error) {
	if _, err := Open(data); err != nil { // the folder is there, and only ours
		return nil, err
	}
	file, err := os.Open(filepath.Join(data, folder)) //nolint:gosec // the operator's own folder
	if err != nil {
		return nil, fmt.Errorf("the folder for keys cannot be used: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("the folder for keys cannot be locked: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil // which unlocks it
}

func keepPublic(data, kid string, public ed25519.PublicKey) error {
	if err := ensureFolder(earlierPath(data)); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return fmt.Errorf("the public half of the signing key could not be written: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der})
	return writePrivate(filepath.Join(earlierPath(data), kid+".pem"), text, os.Rename)
}

// loadEarlier reads the public halves of the signing keys from before. What is no such
// file by its name is somebody else's.
func loadEarlier(data string) (map[string]ed25519.PublicKey, error) {
	files, err := os.ReadDir(earlierPath(data))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]ed25519.PublicKey{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the earlier signing keys cannot be read: %w", err)
	}
	if err := ensureFolder(earlierPath(data)); err != nil {
		return nil, err
	}
	all := map[string]ed25519.PublicKey{}
	for _, file := range files {
		kid, isKey := strings.CutSuffix(file.Name(), ".pem")
		if !isKey || strings.HasPrefix(kid, ".") {
			continue
		}
		public, err := loadPublic(filepath.Join(earlierPath(data), file.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // retired this moment
		}
		if err != nil {
			return nil, err
		}
		if kidOf(public) != kid {
			return nil, fmt.Errorf("%s holds the key %s, not the one of its name", filepath.Join(earlierPath(data), file.Name()), kidOf(public))
		}
		if all[kid] = public; len(all) > maxEarlier {
			return nil, fmt.Errorf("there are more than %d earlier signing keys in %s", maxEarlier, earlierPath(data))
		}
	}
	return all, nil
}

func loadPublic(path string) (ed25519.PublicKey, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemPublic {
		return nil, fmt.Errorf("%s does not hold a PEM block %q", path, pemPublic)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, ok := key.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s does not hold an Ed25519 public key", path)
	}
	return public, nil
}
