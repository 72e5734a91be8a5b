package config

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watcher reloads a document when it, or a file that it refers to, changes.
type Watcher struct {
	File   string                             // the document
	Load   func(file string) (*Config, error) // nil is Load
	Notify func(*Config, error)               // called for each change, from one goroutine

	// Again asks for the document to be loaded though no file of it changed, because
	// a secret elsewhere did; nil never does.
	Again <-chan struct{}

	// Current is the configuration in force when Run begins, so that an edit made
	// between its Load and Run is not lost. Nil: what lies in the file is in force.
	Current *Config

	// Poll is how often contents are compared when the file system says nothing
	// (network drives, referenced files in other folders); zero is 2 seconds.
	Poll time.Duration
	// Settle is how long after a first event the file is read, so that an editor
	// that writes in steps gives one reload; zero is 50 milliseconds.
	Settle time.Duration
}

// Watch runs a Watcher with its defaults until ctx ends. notify gets the new
// configuration, or the error that keeps the file from being one; it is never called
// twice at a time, and only when something changed. The result is nil after ctx
// ended.
func Watch(ctx context.Context, file string, load func(file string) (*Config, error), notify func(*Config, error)) error {
	return Watcher{File: file, Load: load, Notify: notify}.Run(ctx)
}

// Run watches until ctx ends, and then returns nil; every goroutine of its own has
// ended by then.
func (w Watcher) Run(ctx context.Context) error {
	if w.File == "" || w.Notify == nil {
		return errors.New("config: a Watcher needs a File and a function to Notify")
	}
	if w.Load == nil {
		w.Load = Load
	}
	if w.Poll <= 0 {
		w.Poll = 2 * time.Second
	}
	if w.Settle <= 0 {
		w.Settle = 50 * time.Millisecond
	}
	// The folder and not the file: editors put a new file in its place, and
	// Kubernetes swaps a link beside it. Where the file system cannot tell (or the
	// user's watches are used up), polling alone is slower and as good.
	var events <-chan fsnotify.Event
	var failures <-chan error
	if folder, err := fsnotify.NewWatcher(); err == nil {
		defer func() { _ = folder.Close() }() // nothing to save
		if folder.Add(filepath.Dir(w.File)) == nil {
			events, failures = folder.Events, folder.Errors
		}
	}
	w.loop(ctx, events, failures)
	return nil
}

func (w Watcher) loop(ctx context.Context, events <-chan fsnotify.Event, failures <-chan error) {
	seen := w.begin()
	w.check(ctx, seen)
	poll := time.NewTicker(w.Poll)
	defer poll.Stop()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-events:
			if !open {
				events = nil
			} else if settled == nil {
				settled = time.After(w.Settle)
			}
		case _, open := <-failures: // events were lost: the poll finds what they meant
			if !open {
				failures = nil
			}
		case <-settled:
			settled = nil
			w.check(ctx, seen)
		case <-poll.C:
			w.check(ctx, seen)
		case <-w.Again:
			seen.known = false
			w.check(ctx, seen)
		}
	}
}

// seen is what the last look found.
type seen struct {
	files   []string          // what the last good document refers to
	bytes   [sha256.Size]byte // of the document and those files
	known   bool              // bytes is what outcome was made from
	outcome [sha256.Size]byte // of loading
	failed  bool
}

// begin takes what is in force as seen.
func (w Watcher) begin() *seen {
	s := &seen{}
	if w.Current != nil {
		s.remember(w.Current, nil)
	} else {
		s.remember(w.Load(w.File))
	}
	return s
}

func (s *seen) remember(c *Config, err error) {
	s.outcome, s.failed = outcome(c, err), err != nil
	if c != nil {
		s.files = c.files
	}
}

// check reloads if the bytes changed, or if the last attempt failed: what it lacked,
// a certificate for one, may be there now and is not among the files we know.
func (w Watcher) check(ctx context.Context, s *seen) {
	before := *s
	// Hashed before the load: an edit that comes in between is then found by the
	// next check, not lost.
	s.bytes = contents(w.File, s.files)
	if before.known && s.bytes == before.bytes && !s.failed {
		return
	}
	c, err := w.Load(w.File)
	s.remember(c, err)
	s.known = slices.Equal(s.files, before.files) // else the hash is of other files
	edited := before.known && s.bytes != before.bytes
	if ctx.Err() == nil && (edited || s.outcome != before.outcome) {
		w.Notify(c, err)
	}
}

// contents is the hash of a document and of the files that it refers to. A file that
// cannot be read counts as a content of its own.
func contents(file string, files []string) [sha256.Size]byte {
	h := sha256.New()
	for _, name := range append([]string{file}, files...) {
		text, err := readFile(name)
		if err != nil {
			text = []byte(whyUnreadable(err))
		}
		add(h, text)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// outcome is the hash of what loading gave: the document with the values of its
// secrets, or the error.
func outcome(c *Config, err error) [sha256.Size]byte {
	h := sha256.New()
	if err != nil {
		add(h, []byte(err.Error()))
		return [sha256.Size]byte(h.Sum(nil))
	}
	add(h, []byte(c.Version))
	if tls := c.Listen.TLS; tls != nil {
		add(h, []byte(tls.Certificate.Reveal()))
		add(h, []byte(tls.Key.Reveal()))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		add(h, []byte(c.Providers[name].Key.Reveal()))
		for _, key := range c.Providers[name].Keys {
			add(h, []byte(key.Key.Reveal()))
		}
		add(h, []byte(c.Providers[name].authorities))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// add writes a text with its length, so that no two lists of texts hash alike.
func add(h io.Writer, text []byte) {
	var length bytes.Buffer
	_ = binary.Write(&length, binary.BigEndian, uint64(len(text))) // a buffer takes all
	_, _ = h.Write(length.Bytes())                                 // a hash takes all
	_, _ = h.Write(text)
}
