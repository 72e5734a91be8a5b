package openai_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; none is expected to last.
const patience = 10 * time.Second

func client(t *testing.T, server *fake.Server) *http.Client {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true}
	if pem := server.CA(); pem != nil {
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM(pem))
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, ServerName: "localhost"}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func sdkClient(t *testing.T, server *fake.Server) *sdk.Client {
	t.Helper()
	c := sdk.NewClient(option.WithBaseURL(server.URL()+"/v1"), option.WithAPIKey("sk-test"),
		option.WithHTTPClient(client(t, server)), option.WithMaxRetries(0))
	return &c
}

// post sends a body with a client of its own connection; the answer's body is
// closed with the test.
func post(t *testing.T, server *fake.Server, body string) (*http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL()+"/v1/chat/completions", strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := client(t, server).Do(request)
	if err == nil {
		t.Cleanup(func() { _ = response.Body.Close() })
	}
	return response, err
}

func chatBody(more string) string {
	return `{"model":"m","messages":[{"role":"user","content":"one two three"}]` + more + `}`
}

const streaming = `,"stream":true`

func readAll(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

// speak writes raw bytes on a connection of its own and gives the connection.
func speak(t *testing.T, server *fake.Server, raw string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", server.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(c, raw)
	require.NoError(t, err)
	return c
}

func rawPost(body string) string {
	return fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nhost: fake\r\nCONTENT-length: %d\r\nx-One: 1\r\nX-one:  2 \r\n\r\n%s", len(body), body)
}

func readResponse(t *testing.T, c net.Conn) *http.Response {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, what)
}
