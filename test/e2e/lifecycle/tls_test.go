package lifecycle_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/authority"
	"github.com/postern-proxy/postern/test/gate"
)

// pair makes a certificate of the loopback address: the PEM of it and of its key, and
// its serial number.
func pair(t *testing.T, from *authority.Authority) (certificate, key, serial string) {
	t.Helper()
	text, private := from.Issue(t, "127.0.0.1")
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return string(text), string(private), leaf.SerialNumber.String()
}

// certificates is a folder with tls.crt and tls.key.
func certificates(t *testing.T) string {
	t.Helper()
	certificate, key, _ := pair(t, authority.New(t))
	folder := t.TempDir()
	replace(t, filepath.Join(folder, "tls.crt"), certificate)
	replace(t, filepath.Join(folder, "tls.key"), key)
	return folder
}

func TestACertificateIsRotated(t *testing.T) {
	ours := authority.New(t)
	folder := t.TempDir()
	certificateFile, keyFile := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	place := func() (serial string) {
		certificate, key, serial := pair(t, ours)
		replace(t, certificateFile, certificate) // for a moment the two do not belong together
		replace(t, keyFile, key)
		return serial
	}
	old := place()
	g := gate.Start(t, gate.Settings{Folder: folder, TLS: true, Config: `
listen: {address: "{{address}}", tls: {certificate: "file:tls.crt", key: "file:tls.key"}}
providers: {demo: {schema: openai, builtin: demo}}
models: {demo: {route: [[{provider: demo}]]}}
`})
	assert.NotEmpty(t, gjson.Get(paste(t, g, asPrinted), "choices.0.message.content").String())

	trust := &tls.Config{RootCAs: ours.Pool()}
	dial := func() (c *tls.Conn, serial string) {
		c, err := tls.Dial("tcp", g.Address, trust)
		require.NoError(t, err)
		return c, c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	c, shown := dial()
	require.Equal(t, old, shown)
	kept := &http.Client{Transport: newLine(t, c)}
	works := func(client *http.Client) {
		a, err := ask(t.Context(), client, g, chatPath, chatBody("demo", ""))
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, a.status, a.body)
	}
	works(kept)

	renewed := place()
	require.Eventually(t, func() bool {
		c, shown := dial()
		_ = c.Close()
		return shown == renewed
	}, soon, glance, "the new certificate is not in use")
	works(kept)
	works(&http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}})
	requireOneListener(t, g)
	require.Eventually(t, func() bool { return run(t, "status", "--data", g.Data).code == 0 }, soon, glance)
}

// trustAll is for tests that are about something else.
func trustAll() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
