package access_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/access"
)

func signingPath(data string) string { return filepath.Join(data, "keys", "signing.pem") }

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Mode().Perm()
}

func TestOpenMakesTheSigningKeyOnce(t *testing.T) {
	data := filepath.Join(t.TempDir(), "not", "there", "yet")
	first, err := access.Open(data)
	require.NoError(t, err)
	second, err := access.Open(data)
	require.NoError(t, err)
	assert.Equal(t, first.JWKS(), second.JWKS())
	assert.Equal(t, os.FileMode(0o600), mode(t, signingPath(data)))
	assert.Equal(t, os.FileMode(0o700), mode(t, filepath.Dir(signingPath(data))))

	key := mint(t, first, access.Grant{Tenant: "acme"})
	_, err = second.Verify(key.Token(), noon)
	assert.NoError(t, err)
}

func TestProcessesThatStartAtOnceAgree(t *testing.T) {
	data := t.TempDir()
	var group sync.WaitGroup
	ids := make([]string, 16)
	for i := range ids {
		group.Go(func() {
			if signer, err := access.Open(data); assert.NoError(t, err) {
				ids[i] = signer.KeyID()
			}
		})
	}
	group.Wait()
	for _, id := range ids {
		assert.Equal(t, ids[0], id)
	}
	entries, err := os.ReadDir(filepath.Dir(signingPath(data)))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "the losers' keys must not stay behind")
}

func TestTheSigningKeyIsPublishedNowhere(t *testing.T) {
	data := t.TempDir()
	signer, err := access.Open(data)
	require.NoError(t, err)
	text, err := os.ReadFile(signingPath(data))
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	require.NotNil(t, block)
	seed := block.Bytes[len(block.Bytes)-32:]

	var shown strings.Builder
	for _, thing := range []any{signer, *signer, struct{ s access.Signer }{*signer}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			_, _ = fmt.Fprintf(&shown, verb+"\n", thing)
		}
	}
	shown.Write(signer.JWKS())
	for _, form := range []string{
		string(seed), fmt.Sprintf("%x", seed), strings.Trim(fmt.Sprintf("%d", seed), "[]"),
		base64.RawURLEncoding.EncodeToString(seed), base64.StdEncoding.EncodeToString(seed),
	} {
		assert.NotContains(t, shown.String(), form)
	}
}

func TestOpenRefusesAKeyOthersCanRead(t *testing.T) {
	for _, bits := range []os.FileMode{0o640, 0o604, 0o660, 0o644} {
		data := t.TempDir()
		_, err := access.Open(data)
		require.NoError(t, err)
		require.NoError(t, os.Chmod(signingPath(data), bits))
		_, err = access.Open(data)
		require.ErrorContains(t, err, "can be read by other users: run chmod 600")
		assert.NotContains(t, err.Error(), "\n")
	}
	data := t.TempDir()
	_, err := access.Open(data)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(signingPath(data), 0o400))
	_, err = access.Open(data)
	assert.NoError(t, err, "a mounted secret is often read-only")
}

func TestOpenMakesNoKeyInAFolderOpenToOthers(t *testing.T) {
	data := t.TempDir()
	folder := filepath.Dir(signingPath(data))
	require.NoError(t, os.Mkdir(folder, 0o755))
	_, err := access.Open(data)
	require.ErrorContains(t, err, "is open to other users")
	assert.NoFileExists(t, signingPath(data))
}

func TestOpenRefusesWhatIsNotASigningKey(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	for name, test := range map[string]struct{ text, want string }{
		"empty":            {"", "PEM block"},
		"not PEM":          {"hush-hush", "PEM block"},
		"another block":    {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "PEM block"},
		"not PKCS#8":       {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hush-hush")})), "PKCS#8"},
		"another key type": {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "Ed25519"},
		"endless":          {string(bytes.Repeat([]byte("a"), 1<<20)), "PEM block"},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			require.NoError(t, os.Mkdir(filepath.Join(data, "keys"), 0o700))
			require.NoError(t, os.WriteFile(signingPath(data), []byte(test.text), 0o600))
			_, err := access.Open(data)
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "hush")
			kept, readErr := os.ReadFile(signingPath(data))
			require.NoError(t, readErr)
			assert.Equal(t, test.text, string(kept), "what an operator put there is not overwritten")
		})
	}
	data := t.TempDir()
	require.NoError(t, os.MkdirAll(signingPath(data), 0o700))
	_, err = access.Open(data)
	require.ErrorContains(t, err, "not a regular file")
}

func TestTheDevelopmentKeyIsKept(t *testing.T) {
	data := t.TempDir()
	signer, err := access.Open(data)
	require.NoError(t, err)
	token, err := signer.Development(data, noon)
	require.NoError(t, err)
	claims, err := signer.Verify(token, noon)
	require.NoError(t, err)
	assert.Equal(t, "development", claims.Tenant)
	assert.Equal(t, "developer", claims.User)
	assert.Equal(t, "default", claims.Tier)
	assert.Equal(t, os.FileMode(0o600), mode(t, access.DevelopmentPath(data)))

	again, err := signer.Development(data, noon.Add(300*24*time.Hour))
	require.NoError(t, err)
	assert.Equal(t, token, again)
	text, err := os.ReadFile(access.DevelopmentPath(data))
	require.NoError(t, err)
	assert.Equal(t, token+"\n", string(text))
}

func TestTheDevelopmentKeyIsRenewed(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, data string) time.Time{
		"in its last week": func(*testing.T, string) time.Time { return noon.Add(access.DefaultExpiry - 6*24*time.Hour) },
		"expired":          func(*testing.T, string) time.Time { return noon.Add(2 * access.DefaultExpiry) },
		"malformed": func(t *testing.T, data string) time.Time {
			t.Helper()
			require.NoError(t, os.WriteFile(access.DevelopmentPath(data), []byte("pk_nonsense"), 0o600))
			return noon
		},
		"deleted": func(t *testing.T, data string) time.Time {
			t.Helper()
			require.NoError(t, os.Remove(access.DevelopmentPath(data)))
			return noon
		},
		"another signing key": func(t *testing.T, data string) time.Time {
			t.Helper()
			require.NoError(t, os.Remove(signingPath(data)))
			return noon
		},
		"another grant": func(t *testing.T, data string) time.Time {
			t.Helper()
			signer, err := access.Open(data)
			require.NoError(t, err)
			gold := mint(t, signer, access.Grant{Tenant: "development", User: "developer", Tier: "gold"})
			require.NoError(t, os.WriteFile(access.DevelopmentPath(data), []byte(gold.Token()), 0o600))
			return noon
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			signer, err := access.Open(data)
			require.NoError(t, err)
			before, err := signer.Development(data, noon)
			require.NoError(t, err)
			now := spoil(t, data)
			signer, err = access.Open(data)
			require.NoError(t, err)
			after, err := signer.Development(data, now)
			require.NoError(t, err)
			assert.NotEqual(t, before, after)
			claims, err := signer.Verify(after, now)
			require.NoError(t, err)
			assert.Equal(t, now.Add(access.DefaultExpiry), claims.Expires)
			assert.Equal(t, os.FileMode(0o600), mode(t, access.DevelopmentPath(data)))
		})
	}
}

func TestADevelopmentKeyOthersCanReadIsRefused(t *testing.T) {
	data := t.TempDir()
	signer, err := access.Open(data)
	require.NoError(t, err)
	_, err = signer.Development(data, noon)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(access.DevelopmentPath(data), 0o644))
	_, err = signer.Development(data, noon)
	require.ErrorContains(t, err, "can be read by other users")
}
