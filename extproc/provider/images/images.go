// Package images fetches the remote images of a request for a provider that takes
// images only as bytes.
//
// The invariant: only what the operator named is asked, and nothing inside. An address
// is https, of a host on the operator's list, on port 443; every address that its name
// resolves to is looked at when it is connected to, and one that is not a public one is
// not connected to; a redirect is not followed. What comes is bounded in bytes and
// time, and is an image by its content type. Errors show nothing of the address.
//
// A Fetcher's zero value is ready. It is safe for concurrent use and keeps no
// connections.
package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/postern-proxy/postern/fault"
)

const (
	// Most is the largest image that is fetched, in bytes: what Bedrock takes.
	Most = 15 << 18
	// within is how long one image may take.
	within = 5 * time.Second
)

// Fetcher fetches images.
type Fetcher struct {
	// Client makes the requests, in place of one that connects to public addresses
	// only. For tests: what it connects to is not guarded.
	Client *http.Client
}

// Fetch gives the bytes of an image whose host is on the list. Its errors are
// *fault.Error: InvalidRequest for an address that is not allowed, or is no image;
// UpstreamTimeout and UpstreamRefused for a host that does not give it.
func (f Fetcher) Fetch(ctx context.Context, address string, hosts []string) ([]byte, error) {
	if err := Allowed(address, hosts); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, refused(errors.New("no request can be made of the address"))
	}
	request.Header.Set("Accept", "image/*")
	request.Header.Set("Accept-Encoding", "identity")
	response, err := f.client().Do(request)
	if err != nil {
		return nil, failed(err)
	}
	defer func() { _ = response.Body.Close() }()
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, refused(fmt.Errorf("the image's host answered with status %d", response.StatusCode))
	case !strings.HasPrefix(strings.ToLower(response.Header.Get("Content-Type")), "image/"):
		return nil, refused(errors.New("the image's host answered with what is no image"))
	case response.ContentLength > Most:
		return nil, refused(errors.New("the image is larger than 3.75 MiB"))
	}
	image, err := io.ReadAll(io.LimitReader(response.Body, Most+1))
	switch {
	case err != nil:
		return nil, failed(err)
	case len(image) > Most:
		return nil, refused(errors.New("the image is larger than 3.75 MiB"))
	}
	return image, nil
}

// Allowed says why an image of this address is not fetched; nil if it may be.
func Allowed(address string, hosts []string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Opaque != "":
		return refused(errors.New("only https addresses without a user are fetched"))
	case u.Port() != "" && u.Port() != "443":
		return refused(errors.New("only port 443 is asked"))
	}
	host := strings.ToLower(u.Hostname())
	for _, allowed := range hosts {
		suffix, below := strings.CutPrefix(allowed, "*")
		if host == allowed || below && strings.HasSuffix(host, suffix) && len(host) > len(suffix) {
			return nil
		}
	}
	return refused(errors.New("the host is not among those whose images are fetched"))
}

func refused(why error) error {
	return &fault.Error{Op: "images.Fetch", Kind: fault.InvalidRequest, Cause: why}
}

// failed is a host that did not answer, or not to the end. The library's words hold the
// address, which is the client's: they are not kept.
func failed(err error) error {
	kind, why := fault.UpstreamRefused, "the image's host could not be reached"
	var timeout net.Error
	switch {
	case errors.Is(err, errInside):
		kind, why = fault.InvalidRequest, errInside.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		kind, why = fault.UpstreamTimeout, "the image's host did not answer in time"
	}
	return &fault.Error{Op: "images.Fetch", Kind: kind, Cause: errors.New(why)}
}

// guarded connects to public addresses only. It uses no proxy, because a proxy would
// resolve the name itself, and keeps nothing between requests.
var guarded = &http.Client{
	Transport: &http.Transport{
		DialContext:            (&net.Dialer{Timeout: within, Control: public}).DialContext,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		TLSHandshakeTimeout:    within,
		ForceAttemptHTTP2:      true,
	},
	CheckRedirect: stay,
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (f Fetcher) client() *http.Client {
	if f.Client != nil {
		return f.Client
	}
	return guarded
}

var errInside = errors.New("the image's host has an address that is not a public one")

// public refuses a connection to an address inside. It is asked with the address that
// is connected to, after the name was resolved, so that a name cannot say one thing
// here and another there.
func public(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !Public(at.Addr()) {
		return errInside
	}
	return nil
}

// inside are the ranges that are not public and that netip does not name
// (https://www.iana.org/assignments/iana-ipv4-special-registry,
// https://www.iana.org/assignments/iana-ipv6-special-registry).
var inside = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), // an IPv4 address inside an IPv6 one, as the next two
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("::/96"),
}

// Public says that an address is one of the open internet: not of this machine, of a
// private network, of a link, of a group, or of a range that is reserved.
func Public(at netip.Addr) bool {
	at = at.Unmap()
	if !at.IsGlobalUnicast() || at.IsPrivate() || at.IsLoopback() || at.IsLinkLocalUnicast() || at.Zone() != "" {
		return false
	}
	for _, reserved := range inside {
		if reserved.Contains(at) {
			return false
		}
	}
	return true
}
