package ssm_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

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
