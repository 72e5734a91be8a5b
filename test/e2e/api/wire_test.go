package api_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answer is what a client got for one request, to the last byte.
type answer struct {
	status   int // 0: nothing at all
	header   http.Header
	body     string
	broken   error // the body did not come to its end
	informed []int // the 1xx before it
}

// speak writes bytes to an address, as they are, and reads one answer. What cannot
// be written any more is no failure: an early answer is allowed.
func speak(t *testing.T, address, method string, wire io.WriterTo) answer {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = wire.WriteTo(c)
	}()
	a := hear(t, c, method)
	_ = c.Close()
	<-written
	return a
}

// hear reads one answer. A connection that ends without one gives status 0; one that
// stays silent fails the test.
func hear(t *testing.T, c net.Conn, method string) answer {
	t.Helper()
	var a answer
	reader := bufio.NewReader(c)
	for {
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			timeout, ok := err.(net.Error) //nolint:errorlint // ReadResponse wraps nothing
			require.False(t, ok && timeout.Timeout(), "the gate hangs")
			return a
		}
		if response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
			a.informed = append(a.informed, response.StatusCode)
			continue
		}
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		a.status, a.header, a.body, a.broken = response.StatusCode, response.Header, string(text), err
		return a
	}
}

// request is one HTTP/1.1 request to be written as it stands here.
type request struct {
	method, target string
	headers        []string // lines, without their ends
	body           string
	frame          frame
	raw            string // the whole request, in place of all the others
}

// frame is how a body is announced.
type frame int

const (
	sized   frame = iota // content-length
	chunked              // transfer-encoding: chunked, in pieces
	bare                 // neither: the headers say what they say
)

// WriteTo writes the request; the error is the connection's.
func (r request) WriteTo(w io.Writer) (int64, error) {
	if r.raw != "" {
		n, err := io.WriteString(w, r.raw)
		return int64(n), err
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\n", r.method, r.target)
	for _, line := range r.headers {
		head += line + "\r\n"
	}
	body := r.body
	switch r.frame {
	case sized:
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	case chunked:
		head += "Transfer-Encoding: chunked\r\n"
		body = inChunks(body)
	case bare:
	}
	n, err := io.WriteString(w, head+"\r\n")
	if err != nil {
		return int64(n), err
	}
	m, err := io.WriteString(w, body)
	return int64(n + m), err
}

// inChunks cuts a body into four chunks or so.
func inChunks(body string) string {
	var out strings.Builder
	for size := len(body)/4 + 1; len(body) > 0; {
		piece := body[:min(size, len(body))]
		body = body[len(piece):]
		fmt.Fprintf(&out, "%x\r\n%s\r\n", len(piece), piece)
	}
	out.WriteString("0\r\n\r\n")
	return out.String()
}

// leave writes a request to an idle gate, waits until the gate works on it, and goes
// away.
func leave(t *testing.T, h *house, r request) {
	t.Helper()
	h.idle(t)
	c, err := net.DialTimeout("tcp", h.Address, patience)
	require.NoError(t, err)
	defer c.Close()
	_, err = r.WriteTo(c)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return h.active(t) > 0 }, patience, glance, "the request arrives")
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
