package pushes_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/test/gate"
)

// kinds are the kinds of change, each with the i-th push of it. A push returns when
// it is in force.
var kinds = []struct {
	name string
	push func(t *testing.T, h *house, i int)
}{
	{"routes and weights", func(t *testing.T, h *house, i int) {
		h.push(t, document{total: fmt.Sprintf("%ds", 60+i), weights: [2]int{i, pushes - i + 1}})
	}},
	{"a provider's name", func(t *testing.T, h *house, i int) {
		h.push(t, document{first: fmt.Sprintf("first-%d", i)})
	}},
	{"a provider more, or less", func(t *testing.T, h *house, i int) {
		more := ""
		if i%2 == 1 {
			more = fmt.Sprintf("  more-%d: {schema: openai, url: %q}", i, h.two.URL()+"/v1")
		}
		h.push(t, document{more: more, total: fmt.Sprintf("%ds", 60+i)})
	}},
	{"a provider's secret", func(t *testing.T, h *house, i int) {
		secret := fmt.Sprintf("sk-%d", i)
		h.replace(t, "one.key", secret)
		require.Eventually(t, func() bool {
			return h.one.Last().Header.Get("Authorization") == "Bearer "+secret
		}, soon, glance, "the new secret is not in use")
	}},
	{"a provider's address, together with its key", func(t *testing.T, h *house, i int) {
		h.push(t, document{moved: i%2 == 1, total: fmt.Sprintf("%ds", 60+i)})
		h.ownKeys(t)
	}},
	{"the signing key", func(t *testing.T, h *house, i int) {
		was, _, err := access.Rotate(h.Data)
		require.NoError(t, err)
		signer, err := access.Open(h.Data)
		require.NoError(t, err)
		key, err := signer.Mint(access.Grant{Tenant: "new", Expires: time.Hour}, time.Now())
		require.NoError(t, err)
		h.answers(t, key.Token(), http.StatusOK, "the new signing key is not in use")
		if h.rotated.Token() != "" { // the first signed the keys of all that runs
			require.NoError(t, access.Retire(h.Data, was))
			if i%10 == 0 {
				h.answers(t, h.rotated.Token(), http.StatusUnauthorized, "a retired signing key is still in use")
			}
		}
		h.rotated = key
	}},
	{"the listener's certificate", func(t *testing.T, h *house, _ int) {
		certificate, key := h.authority.Issue(t, "127.0.0.1")
		h.replace(t, "key.pem", string(key))
		h.replace(t, "cert.pem", string(certificate))
		block, _ := pem.Decode(certificate)
		leaf, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return h.serial(t) == serialOf(leaf) }, soon, glance, "the new certificate is not in use")
	}},
}

func TestPushesOfEachKind(t *testing.T) {
	h := newHouse(t)
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			for range 5 {
				h.remaining(t)
			}
			before := h.remaining(t)
			finish, flow := h.stream(t), h.flow(t)
			for i := range pushes {
				kind.push(t, h, i+1)
				if (i+1)%10 == 0 {
					left := h.remaining(t)
					// A token comes back in three minutes, should this take so long.
					assert.LessOrEqual(t, left, before, "the bucket is fuller than it was")
					assert.GreaterOrEqual(t, left, before-1, "the bucket is emptier than it should be")
					before = left
				}
			}
			flow.stop(t)
			finish()
			t.Logf("%d requests", flow.count.Load())
			h.listeners(t)
		})
	}
	text, err := os.ReadFile(filepath.Join(h.Data, "envoy.log"))
	require.NoError(t, err)
	for _, secret := range []string{"sk-", "tk-"} {
		assert.NotContains(t, string(text), secret)
		assert.NotContains(t, h.Output(), secret)
	}
}

// A thousand pushes in a row leave the gate as large as it was. Among them providers come
// and go; and come back, because none may really go while a stream runs that may last longer
// than all of this.
func TestAThousandPushes(t *testing.T) {
	if !soaking || gate.RaceDetector {
		t.Skip("it takes minutes, and the race detector keeps its own books: make soak")
	}
	h := newHouse(t)
	finish, flow := h.stream(t), h.flow(t)
	push := func(i int) {
		more := ""
		if i%2 == 1 {
			more = fmt.Sprintf("  more-%d: {schema: openai, url: %q, key: \"file:two.key\"}", i%8, named(h.two)+"/v1")
		}
		h.push(t, document{more: more, total: fmt.Sprintf("%ds", 60+i%500), weights: [2]int{1 + i%7, 1}})
	}
	// The heaps have their size then, and what is remembered of requests has come to its
	// own bound.
	begun := 0
	for ; begun < 300 || flow.count.Load() < 15_000; begun++ {
		push(begun)
	}
	postern, proxy := h.resident(t)
	for i := range 1000 {
		push(begun + i)
		if (i+1)%250 == 0 {
			a, b := h.resident(t)
			t.Logf("after %d pushes: Postern %d KiB, Envoy %d KiB, %d requests", i+1, a>>10, b>>10, flow.count.Load())
		}
	}
	posternAfter, proxyAfter := h.resident(t)
	t.Logf("Postern %d KiB before, %d KiB after; Envoy %d KiB before, %d KiB after", postern>>10, posternAfter>>10, proxy>>10, proxyAfter>>10)
	assert.Less(t, float64(posternAfter+proxyAfter), 1.1*float64(postern+proxy))
	flow.stop(t)
	finish()
	h.listeners(t)
}

// A limit of one tier is a change of the one filter that holds all of them: every bucket is
// full again, those of other tiers too. Nobody is refused, dropped or cut for it, and a push
// that changes no limit fills none (above).
func TestPushesOfLimits(t *testing.T) {
	h := newHouse(t)
	const full = 500
	finish, flow := h.stream(t), h.flow(t)
	for i := range pushes {
		if i%10 == 0 {
			// The push before may fill it a moment after its version is seen.
			require.Eventually(t, func() bool { return h.remaining(t) < full-1 }, soon, glance)
		}
		h.push(t, document{limit: fmt.Sprintf("%d/m", 1000+i)})
		if i%10 == 0 {
			require.Eventually(t, func() bool { return h.remaining(t) == full-1 }, soon, glance, "the change fills the bucket, and a request takes one")
			assert.Equal(t, full-2, h.remaining(t), "nothing else fills it")
		}
	}
	flow.stop(t)
	finish()
	h.listeners(t)
}
