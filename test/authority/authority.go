// Package authority is a certificate authority for tests: it issues certificates for
// fakes and for both ends of mutual TLS, and writes them as the PEM files that people have.
//
// The invariant: what it issues is good for a day, and only with this authority.
//
// An Authority may be used from several goroutines.
package authority

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
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Files are the names of PEM files.
type Files struct{ Certificate, Key, Authorities string }

// Make makes an authority with a new key.
func Make() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := blank("Authority for tests")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate: certificate, key: key}, nil
}

// New is Make for a test.
func New(t testing.TB) *Authority {
	t.Helper()
	a, err := Make()
	check(t, err)
	return a
}

// Certificate makes a certificate for names: IP addresses, URIs (with ://) and DNS names.
// The first is its common name too. Behind it is the authority's own.
func (a *Authority) Certificate(names ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := blank(names[0])
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, name := range names {
		ip := net.ParseIP(name)
		switch {
		case ip != nil:
			template.IPAddresses = append(template.IPAddresses, ip)
		case strings.Contains(name, "://"):
			uri, err := url.Parse(name)
			if err != nil {
				return tls.Certificate{}, err
			}
			template.URIs = append(template.URIs, uri)
		default:
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, a.certificate.Raw}, PrivateKey: key}, nil
}

// Issue makes one as two PEM texts, without the authority's own.
func (a *Authority) Issue(t testing.TB, names ...string) (certificate, key []byte) {
	t.Helper()
	made, err := a.Certificate(names...)
	check(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// PEM is the authority's own certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// Pool is a list of roots that holds this authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// Write issues a certificate into a folder: cert.pem, key.pem and ca.pem, each put in
// its place at once.
func (a *Authority) Write(t testing.TB, folder string, names ...string) Files {
	t.Helper()
	certificate, key := a.Issue(t, names...)
	files := Files{
		Certificate: filepath.Join(folder, "cert.pem"),
		Key:         filepath.Join(folder, "key.pem"),
		Authorities: filepath.Join(folder, "ca.pem"),
	}
	for name, text := range map[string][]byte{files.Key: key, files.Certificate: certificate, files.Authorities: a.PEM()} {
		check(t, os.WriteFile(name+".new", text, 0o600))
		check(t, os.Rename(name+".new", name))
	}
	return files
}

// Client is a configuration of a client that shows a new certificate for names and
// trusts this authority; without names it shows none.
func (a *Authority) Client(t testing.TB, names ...string) *tls.Config {
	t.Helper()
	c := &tls.Config{RootCAs: a.Pool(), MinVersion: tls.VersionTLS12}
	if len(names) > 0 {
		pair, err := a.Certificate(names...)
		check(t, err)
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

func blank(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
