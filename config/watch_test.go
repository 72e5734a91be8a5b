package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// news is one call of Notify.
type news struct {
	config *Config
	err    error
}

// watched runs a Watcher for the test and gives what it tells. Two calls at a time
// fail the test.
func watched(t *testing.T, w Watcher) <-chan news {
	t.Helper()
	told := make(chan news, 100)
	var busy atomic.Bool
	w.Notify = func(c *Config, err error) {
		assert.True(t, busy.CompareAndSwap(false, true), "two calls at a time")
		told <- news{c, err}
		busy.Store(false)
	}
	if w.Poll == 0 {
		w.Poll = time.Hour // only events count
	}
	// Run reads the file once before it listens: what the test does after that is seen.
	started := make(chan struct{}, 2)
	load := w.Load
	if load == nil {
		load = Load
	}
	w.Load = func(file string) (*Config, error) {
		c, err := load(file)
		select {
		case started <- struct{}{}:
		default: // nobody waits any more
		}
		return c, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	<-started
	if w.Current == nil {
		<-started // the first check
	}
	return told
}

func next(t *testing.T, told <-chan news) news {
	t.Helper()
	select {
	case n := <-told:
		return n
	case <-time.After(10 * time.Second):
		require.Fail(t, "nothing was told")
		return news{}
	}
}

// limited is a document with a limit, so that versions can be told apart.
func limited(rate string) string { return document("", "", "tiers: {default: {requests: "+rate+"}}") }

// until waits for the configuration with a limit: an edit may be seen half-way.
func until(t *testing.T, told <-chan news, rate string) {
	t.Helper()
	for {
		n := next(t, told)
		if n.err == nil && n.config.Tiers[DefaultTier].Requests.String() == rate {
			return
		}
	}
}

func TestWatchSeesEdits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "postern.yaml")
	write(t, file, limited("1/s"))
	told := watched(t, Watcher{File: file, Settle: time.Millisecond})

	write(t, file, limited("2/s"))
	until(t, told, "2/s")

	aside := file + ".new" // as editors do
	write(t, aside, limited("3/s"))
	require.NoError(t, os.Rename(aside, file))
	until(t, told, "3/s")

	write(t, file, "providers: 5\n")
	for n := next(t, told); !strings.Contains(errorText(n.err), "providers: must be a mapping"); {
		n = next(t, told)
	}
	write(t, file, limited("4/s"))
	until(t, told, "4/s")

	require.NoError(t, os.Remove(file))
	for n := next(t, told); !strings.Contains(errorText(n.err), "does not exist"); {
		n = next(t, told)
	}
	write(t, file, limited("5/s"))
	until(t, told, "5/s")
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Kubernetes mounts a ConfigMap as links to a folder, and swaps the folder.
func TestWatchSeesASwappedLink(t *testing.T) {
	folder := t.TempDir()
	for name, rate := range map[string]string{"one": "1/s", "two": "2/s"} {
		require.NoError(t, os.Mkdir(filepath.Join(folder, name), 0o700))
		write(t, filepath.Join(folder, name, "postern.yaml"), limited(rate))
	}
	require.NoError(t, os.Symlink("one", filepath.Join(folder, "..data")))
	file := filepath.Join(folder, "postern.yaml")
	require.NoError(t, os.Symlink(filepath.Join("..data", "postern.yaml"), file))
	told := watched(t, Watcher{File: file})

	require.NoError(t, os.Symlink("two", filepath.Join(folder, "..tmp")))
	require.NoError(t, os.Rename(filepath.Join(folder, "..tmp"), filepath.Join(folder, "..data")))
	until(t, told, "2/s")
}

// What no event tells of is found by looking.
func TestWatchPollsReferencedFiles(t *testing.T) {
	folder, elsewhere := t.TempDir(), t.TempDir()
	file, key := filepath.Join(folder, "postern.yaml"), filepath.Join(elsewhere, "key")
	write(t, file, document("url: 'https://x.example/v1', key: 'file:"+key+"'", "", ""))
	told := watched(t, Watcher{File: file, Poll: 5 * time.Millisecond})

	for _, value := range []string{"first", "second"} {
		write(t, key+".new", value)
		require.NoError(t, os.Rename(key+".new", key))
		n := next(t, told)
		require.NoError(t, n.err)
		assert.Equal(t, value, n.config.Providers["p"].Key.Reveal())
	}
}

// A document that was refused for want of a file is tried again, though the file is
// none that a good document named.
func TestWatchRetriesWhatFailed(t *testing.T) {
	cert, key := certificate(t)
	folder := t.TempDir()
	file, missing := filepath.Join(folder, "postern.yaml"), filepath.Join(t.TempDir(), "tls.key")
	write(t, filepath.Join(folder, "tls.crt"), cert)
	write(t, file, document("", "", "listen: {tls: {certificate: 'file:tls.crt', key: 'file:"+missing+"'}}"))
	told := watched(t, Watcher{File: file, Poll: 5 * time.Millisecond})

	write(t, missing+".new", key)
	require.NoError(t, os.Rename(missing+".new", missing))
	n := next(t, told)
	require.NoError(t, n.err)
	assert.NotNil(t, n.config.Listen.TLS)
}

func TestWatchIsQuietWhenNothingChanged(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "postern.yaml")
	write(t, file, limited("1/s"))
	told := watched(t, Watcher{File: file, Poll: time.Millisecond, Settle: time.Millisecond})
	for range 20 {
		aside := file + ".new"
		write(t, aside, limited("1/s"))
		require.NoError(t, os.Rename(aside, file))
		write(t, filepath.Join(folder, "other"), "x")
	}
	write(t, file+".new", limited("2/s"))
	require.NoError(t, os.Rename(file+".new", file))
	n := next(t, told)
	require.NoError(t, n.err)
	assert.Equal(t, "2/s", n.config.Tiers[DefaultTier].Requests.String(), "the only news is the only change")
}

// The same failure is told once, however often it is tried again.
func TestWatchTellsAFailureOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "postern.yaml")
	write(t, file, limited("1/s"))
	var failing atomic.Bool
	var tries atomic.Int32
	told := watched(t, Watcher{File: file, Poll: time.Millisecond, Load: func(file string) (*Config, error) {
		if failing.Load() {
			tries.Add(1)
			return nil, errors.New("broken")
		}
		return Load(file)
	}})
	failing.Store(true)
	write(t, file+".new", limited("2/s"))
	require.NoError(t, os.Rename(file+".new", file))
	require.EqualError(t, next(t, told).err, "broken")
	require.Eventually(t, func() bool { return tries.Load() > 10 }, 10*time.Second, time.Millisecond)
	failing.Store(false)
	assert.NoError(t, next(t, told).err, "the next news is that it works again")
}

// An edit between the caller's Load and Run is not lost.
func TestWatchComparesWithWhatIsInForce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "postern.yaml")
	write(t, file, limited("1/s"))
	current, err := Load(file)
	require.NoError(t, err)
	write(t, file, limited("2/s"))
	told := watched(t, Watcher{File: file, Current: current})
	until(t, told, "2/s")
}

func TestWatchEndsWithItsContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "no-such-folder", "postern.yaml")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, Watch(ctx, file, Load, func(*Config, error) { t.Error("nothing changed") }))
	assert.Error(t, Watch(ctx, "", Load, nil))
}
