package access_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/access"
)

// kids are the keys of a key set, and that it holds public halves only.
func kids(t *testing.T, s *access.Signer) []string {
	t.Helper()
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(s.JWKS(), &set))
	var all []string
	for _, key := range set.Keys {
		assert.NotContains(t, key, "d", "a private half")
		all = append(all, key["kid"])
	}
	return all
}

func TestWhatWasSignedStaysGoodUntilItsKeyIsRetired(t *testing.T) {
	data := t.TempDir()
	first := opened(t, data)
	old := mint(t, first, access.Grant{Tenant: "acme"})
	was, is, err := access.Rotate(data)
	require.NoError(t, err)
	assert.Equal(t, first.KeyID(), was)
	assert.NotEqual(t, was, is)

	second := opened(t, data)
	assert.Equal(t, is, second.KeyID())
	assert.Equal(t, []string{is, was}, kids(t, second))
	for _, key := range []access.Key{old, mint(t, second, access.Grant{Tenant: "acme"})} {
		_, err = second.Verify(key.Token(), noon)
		require.NoError(t, err)
	}
	assert.Equal(t, os.FileMode(0o600), mode(t, signingPath(data)))
	assert.Equal(t, os.FileMode(0o600), mode(t, filepath.Join(data, "keys", "earlier", was+".pem")))

	require.ErrorContains(t, access.Retire(data, is), "signs now")
	require.ErrorContains(t, access.Retire(data, "../signing"), "there is no signing key")
	require.NoError(t, access.Retire(data, was))
	third := opened(t, data)
	assert.Equal(t, []string{is}, kids(t, third))
	_, err = third.Verify(old.Token(), noon)
	require.Error(t, err)
	require.ErrorContains(t, access.Retire(data, was), "there is no signing key")
}

func TestKeysThatAreRotatedAtOnceAreAllKept(t *testing.T) {
	data := t.TempDir()
	first := opened(t, data)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, _, err := access.Rotate(data)
			assert.NoError(t, err)
		})
	}
	group.Wait()
	s := opened(t, data)
	assert.Len(t, s.Earlier(), 8)
	assert.Contains(t, s.Earlier(), first.KeyID())
	for range 24 {
		_, _, err := access.Rotate(data)
		require.NoError(t, err)
	}
	_, _, err := access.Rotate(data)
	require.ErrorContains(t, err, "retire some first")
}

func TestEarlierKeysThatAreNotTaken(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"open to others": {func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0o644)) }, "can be read by other users"},
		"no key":         {func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte("x"), 0o600)) }, "does not hold a PEM block"},
		"another's name": {func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, filepath.Join(filepath.Dir(path), "0123456789abcdef.pem")))
		}, "not the one of its name"},
		"an open folder": {func(t *testing.T, path string) { require.NoError(t, os.Chmod(filepath.Dir(path), 0o777)) }, "is open to other users"},
	} {
		data := t.TempDir()
		opened(t, data)
		was, _, err := access.Rotate(data)
		require.NoError(t, err)
		c.spoil(t, filepath.Join(data, "keys", "earlier", was+".pem"))
		_, err = access.Open(data)
		assert.ErrorContains(t, err, c.want, name)
	}
}

func TestWatchTellsOfEachChange(t *testing.T) {
	data := t.TempDir()
	first := opened(t, data)
	type told struct {
		signer *access.Signer
		err    error
	}
	ctx, stop := context.WithCancel(t.Context())
	changes, done := make(chan told), make(chan struct{})
	go func() {
		defer close(done)
		access.Watch(ctx, data, first, func(s *access.Signer, err error) { changes <- told{s, err} })
	}()
	next := func() told {
		select {
		case c := <-changes:
			return c
		case <-time.After(20 * time.Second):
			require.Fail(t, "nothing was told")
			return told{}
		}
	}
	was, is, err := access.Rotate(data)
	require.NoError(t, err)
	c := next()
	for c.signer != nil && c.signer.KeyID() == was { // it looked between the two steps
		c = next()
	}
	require.NoError(t, c.err)
	assert.Equal(t, is, c.signer.KeyID())
	assert.Equal(t, []string{was}, c.signer.Earlier())

	kept := filepath.Join(data, "signing.kept")
	require.NoError(t, os.Rename(signingPath(data), kept))
	require.Error(t, next().err, "and no new key is made for it")
	require.NoError(t, os.Rename(kept, signingPath(data)))
	c = next()
	require.NoError(t, c.err)
	assert.Equal(t, is, c.signer.KeyID())

	require.NoError(t, access.Retire(data, was))
	c = next()
	require.NoError(t, c.err)
	assert.Empty(t, c.signer.Earlier())
	stop()
	<-done
}

func opened(t *testing.T, data string) *access.Signer {
	t.Helper()
	s, err := access.Open(data)
	require.NoError(t, err)
	return s
}
