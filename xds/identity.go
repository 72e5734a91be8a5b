package xds

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// Identity names the PEM files by which the control plane shows who it is and
// judges who comes: its certificate and key, and the authorities of the fleet.
type Identity struct {
	Certificate, Key, Authorities string

	Log *slog.Logger
}

// TLS is a configuration of a server that demands certificates, TLS 1.3. The files
// are looked at again with each connection, and read again where one has changed;
// files that do not fit together are logged and those before stay in use. Safe for
// concurrent use.
func (i Identity) TLS() (*tls.Config, error) {
	state := &identity{Identity: i}
	if err := state.read(); err != nil {
		return nil, err
	}
	first := state.config.Clone()
	first.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return state.current(), nil }
	return first, nil
}

// identity is an Identity as it was read.
type identity struct {
	Identity

	mu     sync.Mutex
	seen   [3]stamp
	config *tls.Config
}

// stamp is how a changed file is known.
type stamp struct {
	at   time.Time
	size int64
}

func (i *identity) files() [3]string { return [3]string{i.Certificate, i.Key, i.Authorities} }

func (i *identity) stamps() (all [3]stamp) {
	for n, file := range i.files() {
		if info, err := os.Stat(file); err == nil {
			all[n] = stamp{at: info.ModTime(), size: info.Size()}
		}
	}
	return all
}

func (i *identity) current() *tls.Config {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stamps() != i.seen {
		if err := i.read(); err != nil {
			i.Log.Error("the fleet's certificates were not changed: those before stay in use", "reason", err)
		} else {
			i.Log.Info("the fleet's certificates were read again")
		}
	}
	return i.config
}

// read makes what the files hold the one in use. A change that is half written is
// read again when its other half has come.
func (i *identity) read() error {
	i.seen = i.stamps()
	pair, err := tls.LoadX509KeyPair(i.Certificate, i.Key)
	if err != nil {
		return fmt.Errorf("the certificate %s and its key: %w", i.Certificate, err)
	}
	text, err := os.ReadFile(i.Authorities)
	if err != nil {
		return fmt.Errorf("the fleet's authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("the fleet's authorities: %s holds no certificate", i.Authorities)
	}
	i.config = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		NextProtos:   []string{"h2"},
		// Each connection shows its certificate, and is judged by the
		// authorities of its time.
		SessionTicketsDisabled: true,
	}
	return nil
}

// credentialsOf is credentials.NewTLS.
func credentialsOf(c *tls.Config) credentials.TransportCredentials { return credentials.NewTLS(c) }

// door tells of those who were turned away, at most once a second.
type door struct {
	credentials.TransportCredentials

	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	told   time.Time
	turned int // since then
}

// ServerHandshake lets somebody in, or not.
func (d *door) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := d.TransportCredentials.ServerHandshake(c)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		d.turnedAway(c.RemoteAddr(), err)
	}
	return secured, info, err
}

func (d *door) turnedAway(from net.Addr, why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turned++
	if now := d.now(); now.Sub(d.told) >= time.Second {
		d.log.Warn("a connection to the fleet's address was turned away", "from", from.String(), "reason", why.Error(), "count", d.turned)
		d.told, d.turned = now, 0
	}
}

// namesIn are the names in the certificate of a stream's other end; none over a
// connection without one.
func namesIn(ctx context.Context) []string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil
	}
	leaf := info.State.PeerCertificates[0]
	all := append([]string(nil), leaf.DNSNames...)
	for _, uri := range leaf.URIs {
		all = append(all, uri.String())
	}
	if leaf.Subject.CommonName != "" {
		all = append(all, leaf.Subject.CommonName)
	}
	return all
}
