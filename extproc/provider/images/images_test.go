package images_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postern-proxy/postern/extproc/provider/images"
	"github.com/postern-proxy/postern/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var hosts = []string{"images.example.com", "*.cdn.example.com"}

func TestAllowed(t *testing.T) {
	for address, allowed := range map[string]bool{
		"https://images.example.com/a.png":         true,
		"https://IMAGES.example.com:443/a.png?x=1": true,
		"https://a.cdn.example.com/":               true,
		"https://a.b.cdn.example.com/":             true,
		"https://cdn.example.com/":                 false,
		"https://.cdn.example.com/":                false,
		"https://evilcdn.example.com/":             false,
		"https://images.example.com.evil.test/":    false,
		"https://images.example.com@evil.test/":    false,
		"https://evil.test/?images.example.com":    false,
		"https://evil.test#images.example.com":     false,
		"https://user:pass@images.example.com/":    false,
		"https://images.example.com:8443/":         false,
		"http://images.example.com/":               false,
		"ftp://images.example.com/":                false,
		"//images.example.com/":                    false,
		"images.example.com/a.png":                 false,
		"https:images.example.com":                 false,
		"https://127.0.0.1/":                       false,
		"https://[::1]/":                           false,
		"https://images.example.com\\@evil.test/":  false,
		"https://images.example.com\r\nHost: x/":   false,
		"https://images.example.com%00.evil.test/": false,
		"": false,
	} {
		err := images.Allowed(address, hosts)
		assert.Equal(t, allowed, err == nil, "%q: %v", address, err)
		if err != nil {
			assert.Equal(t, fault.InvalidRequest, fault.KindOf(err))
			if address != "" {
				assert.NotContains(t, err.Error(), address)
			}
		}
	}
	assert.Error(t, images.Allowed("https://images.example.com/a.png", nil))
}

func TestPublic(t *testing.T) {
	for text, public := range map[string]bool{
		"1.1.1.1": true, "8.8.8.8": true, "172.32.0.1": true, "2606:4700::1111": true, "::ffff:1.1.1.1": true,
		"127.0.0.1": false, "127.8.8.8": false, "10.1.2.3": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"169.254.169.254": false, "169.254.170.2": false, "100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "255.255.255.255": false,
		"224.0.0.1": false, "240.0.0.1": false, "192.0.2.1": false, "198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false,
		"::1": false, "::": false, "fe80::1": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false, "2001:db8::1": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "::7f00:1": false,
	} {
		assert.Equal(t, public, images.Public(netip.MustParseAddr(text)), text)
	}
}

// place is a host of images for tests, and a Fetcher that finds it under any name.
func place(t *testing.T, handler http.HandlerFunc) images.Fetcher {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	transport.TLSClientConfig.ServerName = "example.com"
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	return images.Fetcher{Client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

const address = "https://images.example.com/a.png"

func TestFetch(t *testing.T) {
	f := place(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "images.example.com", r.Host)
		assert.Empty(t, r.Header.Get("Authorization"))
		assert.Equal(t, "image/*", r.Header.Get("Accept"))
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write([]byte("an image"))
	})
	image, err := f.Fetch(t.Context(), address, hosts)
	require.NoError(t, err)
	assert.Equal(t, "an image", string(image))
	_, err = f.Fetch(t.Context(), "https://elsewhere.example.com/a.png", hosts)
	assert.Equal(t, fault.InvalidRequest, fault.KindOf(err))
}

func TestFetchRefuses(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://169.254.169.254/")
			w.WriteHeader(http.StatusFound)
		},
		"a page":    typed("text/html", "<html>"),
		"nothing":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"no type":   typed("", "x"),
		"too large": typed("image/png", strings.Repeat("x", images.Most+1)),
		"undeclared": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			for range 6 {
				_, _ = w.Write([]byte(strings.Repeat("x", 1<<20)))
				w.(http.Flusher).Flush()
			}
		},
	} {
		_, err := place(t, answer).Fetch(t.Context(), address, hosts)
		require.Error(t, err, name)
		assert.Equal(t, fault.InvalidRequest, fault.KindOf(err), name)
		assert.NotContains(t, err.Error(), "example.com", name)
	}
	whole, err := place(t, typed("IMAGE/png", strings.Repeat("x", images.Most))).Fetch(t.Context(), address, hosts)
	require.NoError(t, err)
	assert.Len(t, whole, images.Most)
}

func typed(kind, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{kind}
		_, _ = w.Write([]byte(text))
	}
}

func TestFetchEnds(t *testing.T) {
	f := place(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := f.Fetch(ctx, address, hosts)
	assert.Equal(t, fault.UpstreamTimeout, fault.KindOf(err))

	f = place(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("cut"))
	})
	_, err = f.Fetch(t.Context(), address, hosts)
	assert.Equal(t, fault.UpstreamRefused, fault.KindOf(err))
}

// The guard stands where the connection is made: a name on the operator's list that
// resolves to an address inside is refused, though there is an image behind it.
func TestFetchFromInside(t *testing.T) {
	const name = "images.example.com"
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		typed("image/png", "secret")(w, r)
	}))
	t.Cleanup(server.Close)
	everythingIsInside(t)

	// Without the guard the image would be had: by the same name and resolver, and by the
	// server's port in place of 443, which a test cannot have.
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	transport.TLSClientConfig.ServerName = "example.com"
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(host, port))
	}
	image, err := images.Fetcher{Client: &http.Client{Transport: transport}}.Fetch(t.Context(), address, hosts)
	require.NoError(t, err)
	require.Equal(t, "secret", string(image))
	require.Equal(t, 1, asked)

	_, err = images.Fetcher{}.Fetch(t.Context(), "https://"+name+"/a.png", hosts)
	require.Error(t, err)
	assert.Equal(t, fault.InvalidRequest, fault.KindOf(err))
	assert.Contains(t, err.Error(), "not a public one")
	assert.Equal(t, 1, asked)
}

// everythingIsInside has every name of this process resolve to 127.0.0.1, by a small DNS
// server of its own.
func everythingIsInside(t *testing.T) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		query := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(resolved(query[:n]), from)
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = server.Close()
		<-done
	})
}

// resolved answers a query with one question (RFC 1035 §4): 127.0.0.1 for an IPv4 address,
// nothing for anything else.
func resolved(query []byte) []byte {
	end := 12
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 5 // the root, the type, the class
	if end > len(query) {
		return nil
	}
	answer := append([]byte{}, query[:end]...)
	copy(answer[2:12], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	if query[end-4] == 0 && query[end-3] == 1 {
		answer[7] = 1
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1)
	}
	return answer
}
