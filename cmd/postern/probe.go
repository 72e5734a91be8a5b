package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/postern-proxy/postern/config"
)

// addressFree says in one sentence if somebody else listens on address.
func addressFree(ctx context.Context, address string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("the address %s is taken: stop what listens there, or change listen.address", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("the address %s needs rights that this user does not have: choose a port above 1023 in listen.address", address)
	case err != nil:
		return fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	return l.Close()
}

// baseURL is where a client on this machine reaches the gate.
func baseURL(l config.Listen) string {
	host, port, _ := net.SplitHostPort(l.Address) // validated
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	scheme := "http"
	if l.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// waitReady asks through Envoy, as a client would, until the gate says it is
// ready or ctx ends.
func (g *gate) waitReady(ctx context.Context) error {
	transport := &http.Transport{
		DisableKeepAlives: true,
		// The probe goes to this machine, whatever name the certificate has.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	url := baseURL(g.config.Load().Listen) + "/readyz"
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		if last = probe(ctx, client, url); last == nil {
			return nil
		}
		if refused := g.xds.Status().Refused(); refused != nil {
			return refused
		}
		select {
		case <-ctx.Done():
			return last
		case <-ticker.C:
		}
	}
}

func probe(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4096))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
