package failover_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// TestBadProviders: whatever the first does, the second answers.
func TestBadProviders(t *testing.T) {
	folder := t.TempDir()
	served := map[string]*atomic.Int64{}
	counting := func(name string, serve func(net.Conn)) func(net.Conn) {
		served[name] = new(atomic.Int64)
		return func(c net.Conn) {
			served[name].Add(1)
			serve(c)
		}
	}
	bad := map[string]string{ // provider → URL
		"unnamed": "http://no-such-host.invalid/v1",
		"expired": serveTLS(t, folder, "expired", "localhost", -time.Hour, counting("expired", goAway)),
		"named":   serveTLS(t, folder, "named", "other.example", time.Hour, counting("named", goAway)),
		"goaway":  serveTLS(t, folder, "goaway", "localhost", time.Hour, counting("goaway", goAway)),
		"rst":     serveTLS(t, folder, "rst", "localhost", time.Hour, counting("rst", resetStream(false))),
		"mid":     serveTLS(t, folder, "mid", "localhost", time.Hour, counting("mid", resetStream(true))),
		"raw":     serveTLS(t, folder, "raw", "localhost", time.Hour, counting("raw", func(c net.Conn) { _, _ = c.Write([]byte("no frames")) })),
		"silent":  serveTLS(t, folder, "silent", "localhost", time.Hour, counting("silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })),
	}
	foreign := fake.StartTLS(t)
	bad["foreign"] = foreign.URL() + "/v1"
	h := &house{a: fake.Start(t), b: fake.Start(t), c: fake.Start(t), client: gate.Client()}
	providers, models := "", ""
	for name, url := range bad {
		ca := ""
		if strings.HasPrefix(url, "https") && name != "foreign" {
			ca = ", ca: file:" + name + ".pem"
		}
		providers += fmt.Sprintf("  %s: {schema: openai, url: %q%s}\n", name, url, ca)
		models += fmt.Sprintf("  %s: {route: [[{provider: %s}], [{provider: b}]], timeouts: {first_byte: 1s}}\n", name, name)
		models += fmt.Sprintf("  %s-alone: {route: [[{provider: %s}]], timeouts: {first_byte: 1s}}\n", name, name)
		models += fmt.Sprintf("  %s-first: {route: [[{provider: %s}, {provider: b}]], timeouts: {first_byte: 1s}}\n", name, name)
	}
	models += "  cut: {route: [[{provider: a}], [{provider: b}]], timeouts: {first_byte: 1s}}\n"
	h.Gate = gate.Start(t, gate.Settings{Config: h.document(providers, models), Folder: folder})
	for name := range bad {
		t.Run(name, func(t *testing.T) {
			for range 8 { // more than it takes to leave it alone
				got := h.ask(t, name)
				require.Equal(t, http.StatusOK, got.status, got.text)
				require.Equal(t, "b", got.provider)
				got = h.ask(t, name+"-first")
				require.Equal(t, http.StatusOK, got.status, got.text)
			}
			got := h.ask(t, name+"-alone")
			assert.GreaterOrEqual(t, got.status, 500)
			assert.Contains(t, got.text, `"code":"provider_`)
			assert.NotContains(t, got.text, "localhost")
			assert.NotContains(t, strings.ToLower(got.text), "tls")
		})
	}
	for name, times := range served {
		reached := name != "expired" && name != "named"
		assert.Equal(t, reached, times.Load() > 0, "whether %s got a request", name)
	}
	t.Run("cut in the headers", func(t *testing.T) {
		h.a.Always(fake.Behavior{Raw: []byte("HTTP/1.1 200 OK\r\nContent-Ty")})
		for range 8 {
			got := h.ask(t, "cut")
			require.Equal(t, http.StatusOK, got.status, got.text)
			require.Equal(t, "b", got.provider)
		}
	})
}

// serveTLS serves TLS with a certificate of an authority of its own, which it writes to
// folder/name.pem, and gives the URL. The certificate is for a host and ends after a
// while, which may be over.
func serveTLS(t *testing.T, folder, name, host string, life time.Duration, serve func(net.Conn)) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(folder, name+".pem"), text, 0o600))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{http2.NextProtoTLS}, MinVersion: tls.VersionTLS12,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if c.(*tls.Conn).HandshakeContext(t.Context()) == nil {
					serve(c)
				}
			}()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return "https://localhost:" + port + "/v1"
}

// goAway takes a request of HTTP/2 and says that it will not work on it.
func goAway(c net.Conn) {
	if framer, stream := request(c); stream != 0 {
		_ = framer.WriteGoAway(0, http2.ErrCodeNo, nil)
	}
}

// resetStream takes requests of HTTP/2 and resets each: before its answer, or in the midst
// of the answer's headers.
func resetStream(within bool) func(net.Conn) {
	return func(c net.Conn) {
		framer, stream := request(c)
		for ; stream != 0; stream = next(framer) {
			if within { // the rest would follow in another frame
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x88}})
			}
			_ = framer.WriteRSTStream(stream, http2.ErrCodeInternal)
		}
	}
}

// request reads the beginning of a connection, and the first request on it; 0 is none.
func request(c net.Conn) (framer *http2.Framer, stream uint32) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c, preface); err != nil {
		return nil, 0
	}
	framer = http2.NewFramer(c, c)
	_ = framer.WriteSettings()
	return framer, next(framer)
}

// next reads to the headers of the next request; 0 is that there is none.
func next(framer *http2.Framer) (stream uint32) {
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return 0
		}
		if frame.Header().Type == http2.FrameHeaders {
			return frame.Header().StreamID
		}
	}
}

// TestLargeBodies fail over whole; those over the limit go nowhere.
func TestLargeBodies(t *testing.T) {
	h := open(t, "", `
  pair: {route: [[{provider: a}], [{provider: b}]]}
  named: {route: [[{provider: a}], [{provider: b, model: other}]]}
`)
	h.a.Always(fake.Status(503))
	for _, model := range []string{"pair", "named"} {
		for _, size := range []int{1 << 20, 19 << 20} {
			body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"%s"}]}`, model, strings.Repeat("x", size))
			got := h.post(t.Context(), body)
			require.NoError(t, got.err)
			require.Equal(t, http.StatusOK, got.status, got.text)
			assert.Equal(t, "b", got.provider)
			seen := h.b.Last()
			if model == "pair" {
				sum := sha256.Sum256([]byte(body))
				assert.Equal(t, hex.EncodeToString(sum[:]), seen.BodyHash)
			}
			assert.Len(t, seen.JSON("messages.0.content").String(), size)
		}
	}
	h.b.Reset()
	got := h.post(t.Context(), chat("pair")+strings.Repeat(" ", 21<<20))
	require.NoError(t, got.err)
	assert.Equal(t, http.StatusRequestEntityTooLarge, got.status)
	assert.Zero(t, h.b.Counts().Requests)
}

// TestAllDown: the client gets an error in its form, and the next request works as soon
// as one of them does.
func TestAllDown(t *testing.T) {
	h := open(t, "", `
  three: {route: [[{provider: a}, {provider: b}], [{provider: c}]]}
`)
	for _, s := range []*fake.Server{h.a, h.b, h.c} {
		s.Refuse()
	}
	assert.Equal(t, map[string]int{" 502": 500}, h.count(t.Context(), 50, 500, "three"))
	got := h.ask(t, "three")
	assert.Contains(t, got.text, `"code":"provider_unreachable"`)
	assert.Equal(t, []string{"false"}, got.header["X-Should-Retry"])
	assert.Equal(t, []string{"3"}, got.header["X-Postern-Attempts"])
	require.NoError(t, h.c.Resume())
	assert.Equal(t, "c", h.ask(t, "three").provider)
	require.NoError(t, h.a.Resume())
	require.Eventually(t, func() bool { return h.ask(t, "three").provider == "a" }, 2*patience, 20*time.Millisecond)
}
