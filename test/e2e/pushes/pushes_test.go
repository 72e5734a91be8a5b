package pushes_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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

func TestAHundredPushesOfEachKind(t *testing.T) {
	h := newHouse(t)
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			before := h.remaining(t)
			finish, flow := h.stream(t), h.flow(t)
			for i := range pushes {
				kind.push(t, h, i+1)
				if (i+1)%20 == 0 {
					left := h.remaining(t)
					assert.Equal(t, before-1, left, "the bucket is fuller than it was, or emptier")
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
	assert.NotContains(t, string(text), "sk-")
	assert.NotContains(t, h.Output(), "sk-")
}

// A thousand pushes in a row leave the gate as large as it was.
func TestAThousandPushes(t *testing.T) {
	if os.Getenv("SOAK") == "" || gate.RaceDetector {
		t.Skip("it takes two minutes, and the race detector keeps its own books: make soak")
	}
	// What is remembered of requests grows with them, up to its own bounds, and says
	// nothing of pushes.
	h := newHouse(t, "--unmetered")
	finish, flow := h.stream(t), h.flow(t)
	push := func(i int) {
		h.push(t, document{total: fmt.Sprintf("%ds", 60+i%500), weights: [2]int{1 + i%7, 1}})
	}
	for i := range 300 { // the heaps have their size then
		push(i)
	}
	before := h.resident(t)
	for i := range 1000 {
		push(i + 300)
	}
	after := h.resident(t)
	t.Logf("%d KiB before, %d KiB after, %d requests", before>>10, after>>10, flow.count.Load())
	assert.Less(t, float64(after), 1.1*float64(before))
	flow.stop(t)
	finish()
	h.listeners(t)
}

// A limit of one tier is a change of the one filter that holds all of them, so that
// every bucket is full again; but nobody is refused, dropped or cut for it.
func TestAHundredPushesOfLimits(t *testing.T) {
	h := newHouse(t)
	finish, flow := h.stream(t), h.flow(t)
	for i := range pushes {
		h.push(t, document{limit: fmt.Sprintf("%d/m", 1000+i)})
		if i%20 == 0 {
			assert.LessOrEqual(t, h.remaining(t), 499)
		}
	}
	flow.stop(t)
	finish()
	h.listeners(t)
}
