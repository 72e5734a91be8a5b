package ssm_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config/set"
	"github.com/postern-proxy/postern/config/ssm"
	"github.com/postern-proxy/postern/test/fake/aws"
)

func (h *house) lookup(folder string) *ssm.Lookup {
	return &ssm.Lookup{
		Tree: h.store.Tree, Copy: ssm.Copy{Folder: folder, Secrets: true},
		Open: func(context.Context) (*ssm.Store, error) { return h.store, nil },
	}
}

func TestALookupKeepsWhatItHad(t *testing.T) {
	h := newHouse(t)
	folder := filepath.Join(t.TempDir(), "parameters")
	h.secret("one")
	lookup := h.lookup(folder)
	get := lookup.Get(t.Context())
	value, err := get("cloud")
	require.NoError(t, err)
	assert.Equal(t, "one", value)
	_, err = get("none")
	require.ErrorContains(t, err, h.store.Tree.Secret("none")+": there is no such parameter")

	changed := make(chan struct{}, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lookup.Run(ctx, 10*time.Millisecond, func() { changed <- struct{}{} })
	}()
	h.secret("two")
	<-changed
	value, err = get("cloud")
	require.NoError(t, err)
	assert.Equal(t, "two", value)
	cancel()
	<-ended

	h.aws.Fail(aws.Fault{Kind: aws.Cut})
	value, err = get("cloud")
	require.NoError(t, err)
	assert.Equal(t, "two", value)
	value, err = h.lookup(folder).Get(t.Context())("cloud")
	require.NoError(t, err, "a start without the store has what was kept")
	assert.Equal(t, "two", value)
	_, err = h.lookup("").Get(t.Context())("cloud")
	require.ErrorContains(t, err, "cannot be reached")
}

func TestALookupWithoutAnEnvironmentNeedsWholeNames(t *testing.T) {
	h := newHouse(t)
	h.secret("one")
	lookup := h.lookup("")
	lookup.Tree = set.Tree{Prefix: "/postern"}
	value, err := lookup.Get(t.Context())(h.store.Tree.Secret("cloud"))
	require.NoError(t, err)
	assert.Equal(t, "one", value)
	_, err = lookup.Get(t.Context())("cloud")
	require.ErrorContains(t, err, "--env")
}

// A start that cannot read a secret takes what was kept, says so, and does not lose it by
// keeping the others.
func TestALookupLosesNothingThatWasKept(t *testing.T) {
	h := newHouse(t)
	folder := filepath.Join(t.TempDir(), "parameters")
	names := []string{"cloud", "other", "third"}
	for _, name := range names {
		h.put(h.store.Tree.Secret(name), "value of "+name, types.ParameterTypeSecureString)
	}
	all := func(l *ssm.Lookup) {
		t.Helper()
		for _, name := range names {
			value, err := l.Get(t.Context())(name)
			require.NoError(t, err, name)
			assert.Equal(t, "value of "+name, value)
		}
	}
	all(h.lookup(folder))
	h.aws.Fail(aws.Fault{Kind: aws.Throttle, Parameter: "/secrets/other"})
	second := h.lookup(folder)
	all(second)
	status := second.Status()
	assert.True(t, status.Local)
	assert.Contains(t, status.Error, h.store.Tree.Secret("other")+": Parameter Store asks for fewer requests")
	assert.WithinDuration(t, time.Now(), status.Asked, time.Minute)
	h.aws.Fail(aws.Fault{Kind: aws.Cut})
	all(h.lookup(folder))

	// What nobody asks for any more is not kept for ever.
	h.aws.Clear()
	names = names[:1]
	third := h.lookup(folder)
	all(third)
	changed := follow(t, third)
	h.secret("new")
	<-changed
	h.aws.Fail(aws.Fault{Kind: aws.Cut})
	last := h.lookup(folder).Get(t.Context())
	value, err := last("cloud")
	require.NoError(t, err)
	assert.Equal(t, "new", value)
	_, err = last("other")
	require.ErrorContains(t, err, "cannot be reached")
}

// follow runs a lookup until the test ends and gives its changes.
func follow(t *testing.T, l *ssm.Lookup) <-chan struct{} {
	t.Helper()
	changed := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx, 10*time.Millisecond, func() { changed <- struct{}{} })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return changed
}

// diary is a log that can be read.
type diary struct {
	mu   sync.Mutex
	text strings.Builder
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(p)
}

func (d *diary) has(text string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Count(d.text.String(), text)
}

// A secret that cannot be read any more is told of, once, and stays what it was.
func TestALookupTellsWhatItCannotRead(t *testing.T) {
	clears := func(h *house) { h.aws.Clear() }
	for name, test := range map[string]struct {
		spoil, mend func(h *house)
		says        string
	}{
		"cut":       {fail(aws.Fault{Kind: aws.Cut}), clears, ": Parameter Store cannot be reached"},
		"throttled": {fail(aws.Fault{Kind: aws.Throttle}), clears, ": Parameter Store asks for fewer requests"},
		"denied":    {fail(aws.Fault{Kind: aws.Deny}), clears, ": access is denied"},
		"gone": {
			func(h *house) { h.remove(h.store.Tree.Secret("cloud")) }, func(h *house) { h.secret("two") },
			": the parameter was there and is gone",
		},
		"a new value that cannot be decrypted": {
			func(h *house) {
				h.aws.Fail(aws.Fault{Kind: aws.Undecrypt})
				h.secret("two")
			}, clears, ": cannot be decrypted",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.secret(secretValue)
			lookup, log := h.lookup(""), &diary{}
			lookup.Log = slog.New(slog.NewTextHandler(log, nil))
			assert.Nil(t, lookup.Status(), "nobody asked for any")
			_, err := lookup.Get(t.Context())("cloud")
			require.NoError(t, err)
			assert.Empty(t, lookup.Status().Error)
			follow(t, lookup)

			test.spoil(h)
			says := h.store.Tree.Secret("cloud") + test.says
			require.Eventually(t, func() bool { return strings.Contains(lookup.Status().Error, says) }, 20*time.Second, time.Millisecond)
			assert.False(t, lookup.Status().Local)
			value, err := lookup.Get(t.Context())("cloud")
			require.NoError(t, err)
			assert.Equal(t, secretValue, value)
			for range 2 {
				h.aws.Calls("GetParameters")
				require.Eventually(t, func() bool { return h.aws.Calls("GetParameters") > 0 }, 20*time.Second, time.Millisecond, "it goes on asking")
			}
			assert.Equal(t, 1, log.has(says), "it is said once")
			assert.Zero(t, log.has(secretValue))
			test.mend(h)
			require.Eventually(t, func() bool { return lookup.Status().Error == "" }, 20*time.Second, time.Millisecond)
			assert.Equal(t, 1, log.has("can be read again"))
		})
	}
}
