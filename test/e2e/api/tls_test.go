package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/authority"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// writePEM writes a certificate and its key into a folder.
func writePEM(t *testing.T, folder string, c tls.Certificate) {
	t.Helper()
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "tls.crt"), chain, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
}

func TestAGateWithACertificate(t *testing.T) {
	folder, ours := t.TempDir(), authority.New(t)
	certificate, err := ours.Certificate("127.0.0.1", "gate.example")
	require.NoError(t, err)
	writePEM(t, folder, certificate)
	h := &house{main: fake.Start(t)}
	h.Gate = gate.Start(t, gate.Settings{TLS: true, Config: `
listen: {address: "{{address}}", tls: {certificate: "file:` + folder + `/tls.crt", key: "file:` + folder + `/tls.key"}}
providers: {main: {schema: openai, url: "` + h.main.URL() + `/v1"}}
models: {main: {route: [[{provider: main}]]}}
`})
	h.knock(t)
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			config := &tls.Config{RootCAs: ours.Pool(), NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
			if !h2 {
				config.NextProtos = []string{"http/1.1"}
			}
			response := h.ask(t, clientOf(t, h2, config), chatPath, chatBody("main", streaming))
			assert.True(t, strings.HasSuffix(read(t, response), "data: [DONE]\n\n"))
			assert.Equal(t, name, response.Proto)
			assert.Equal(t, map[bool]string{true: "h2", false: "http/1.1"}[h2], response.TLS.NegotiatedProtocol)
		})
	}
	t.Run("without TLS nothing is said", func(t *testing.T) {
		a := speak(t, h.Address, http.MethodPost, good(h, native).request)
		assert.Zero(t, a.status)
	})
	t.Run("an old TLS is refused", func(t *testing.T) {
		_, err := tls.Dial("tcp", h.Address, &tls.Config{RootCAs: ours.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		assert.Error(t, err)
	})
}

// TestProvidersBehindTLS are trusted by the name in their URL and the authorities that
// the configuration or the system names, and are not asked otherwise.
func TestProvidersBehindTLS(t *testing.T) {
	folder, ours, strangers := t.TempDir(), authority.New(t), authority.New(t)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ours.pem"), ours.PEM(), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "all.pem"), append(ours.PEM(), strangers.PEM()...), 0o600))
	elsewhere, err := net.Listen("tcp", "127.0.0.2:0")
	require.NoError(t, err)
	stale, staleCA := expired(t)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "stale.pem"), staleCA, 0o600))

	provider := map[string]*fake.Server{
		"named":     fake.Start(t, fake.WithTLS(ours)),
		"addressed": fake.Start(t, fake.WithTLS(ours), fake.WithoutHTTP2()),
		"system":    fake.Start(t, fake.WithTLS(strangers)),
		"untrusted": fake.Start(t, fake.WithTLS(strangers)),
		"misnamed":  fake.Start(t, fake.WithTLS(ours), fake.WithListener(elsewhere)),
		"expired":   fake.Start(t, fake.WithListener(stale)),
		"plain":     fake.Start(t),
	}
	entry := func(name, url, ca string) string {
		if ca != "" {
			ca = `, ca: "file:` + folder + "/" + ca + `"`
		}
		return "  " + name + `: {schema: openai, url: "` + url + `/v1", key: "${` + strings.ToUpper(name) + `_KEY}"` + ca + "}\n"
	}
	config := `
listen: {address: "{{address}}"}
providers:
` + entry("named", strings.Replace(provider["named"].URL(), "127.0.0.1", "localhost", 1), "ours.pem") +
		entry("addressed", provider["addressed"].URL(), "ours.pem") +
		entry("system", provider["system"].URL(), "") +
		entry("untrusted", provider["untrusted"].URL(), "ours.pem") +
		entry("misnamed", provider["misnamed"].URL(), "ours.pem") +
		entry("expired", "https://"+provider["expired"].Address(), "stale.pem") +
		entry("plain", strings.Replace(provider["plain"].URL(), "http:", "https:", 1), "ours.pem") + `
models:
  fallen: {route: [[{provider: expired}], [{provider: named}]]}
`
	for name := range provider {
		config += "  " + name + ": {route: [[{provider: " + name + "}]]}\n"
	}
	h := &house{main: provider["named"]}
	h.Gate = gate.Start(t, gate.Settings{
		Config: config,
		Env:    append(providerEnv(sortedNames(provider)...), "SSL_CERT_FILE="+filepath.Join(folder, "all.pem")),
	})
	h.knock(t)
	c := clientOf(t, false, nil)
	for name, server := range provider {
		t.Run(name, func(t *testing.T) {
			response := h.ask(t, c, chatPath, chatBody(name, ""))
			a := answer{status: response.StatusCode, header: response.Header, body: read(t, response)}
			if name != "named" && name != "addressed" && name != "system" {
				require.Equal(t, http.StatusBadGateway, a.status, a.body)
				isError(t, a, "provider_unreachable", "")
				keepsSecrets(t, h, a)
				assert.NotContains(t, strings.ToLower(a.body), "certificate")
				assert.Zero(t, server.Counts().Requests, "the credential was sent to somebody else")
				return
			}
			require.Equal(t, http.StatusOK, a.status, a.body)
			seen := server.Last()
			assert.Equal(t, []string{"Bearer " + providerKey(name)}, seen.Header["Authorization"])
			if name == "named" {
				assert.Equal(t, "localhost", seen.SNI)
				assert.Equal(t, strings.Replace(server.Address(), "127.0.0.1", "localhost", 1), seen.Host)
				assert.Equal(t, "HTTP/2.0", seen.Proto)
			} else {
				assert.Empty(t, seen.SNI, "an address is no name")
				assert.Equal(t, server.Address(), seen.Host)
			}
		})
	}
	t.Run("failover to another name", func(t *testing.T) {
		response := h.ask(t, c, chatPath, chatBody("fallen", streaming))
		assert.True(t, strings.HasSuffix(read(t, response), "data: [DONE]\n\n"))
		seen := provider["named"].Last()
		assert.Equal(t, "localhost", seen.SNI)
		assert.Equal(t, []string{"Bearer " + providerKey("named")}, seen.Header["Authorization"])
	})
}

// expired is a TLS listener whose certificate ended yesterday, and its authority.
func expired(t *testing.T) (net.Listener, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Expired provider"},
		NotBefore: time.Now().Add(-72 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12,
	})
	require.NoError(t, err)
	return l, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
