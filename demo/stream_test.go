package demo_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/demo"
)

const streamed = `{"model":"m","stream":true,"messages":[{"role":"user","content":"one two"}]}`

// recorder notes what was written between two flushes.
type recorder struct {
	header  http.Header
	pending strings.Builder
	flushed []string
	onFlush func()
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(p []byte) (int, error) { return r.pending.Write(p) }
func (r *recorder) FlushError() error {
	r.flushed = append(r.flushed, r.pending.String())
	r.pending.Reset()
	if r.onFlush != nil {
		r.onFlush()
	}
	return nil
}

func TestEachFrameIsFlushedByItself(t *testing.T) {
	for path, body := range map[string]string{
		chatPath:        streamed,
		completionsPath: `{"model":"m","stream":true,"prompt":"one two"}`,
		responsesPath:   `{"model":"m","stream":true,"input":"one two"}`,
	} {
		out := &recorder{header: http.Header{}}
		model().ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body)))
		assert.Empty(t, out.pending.String(), "nothing is left unflushed")
		require.Greater(t, len(out.flushed), 10)
		for _, frame := range out.flushed {
			assert.Equal(t, 1, strings.Count(frame, "data: "), frame)
			assert.Equal(t, 1, strings.Count(frame, "\n\n"), frame)
			assert.True(t, strings.HasSuffix(frame, "\n\n"), frame)
		}
		assert.Equal(t, "text/event-stream; charset=utf-8", out.header.Get("Content-Type"))
		assert.Equal(t, "no-cache", out.header.Get("Cache-Control"))
	}
}

// On the wire the first words arrive while the model still waits to say the rest.
func TestTheFirstFrameArrivesBeforeTheLastIsMade(t *testing.T) {
	patient := model()
	patient.Delay = time.Hour
	server := httptest.NewServer(patient)
	defer server.Close()
	conn, err := (&net.Dialer{}).DialContext(within(t), "tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: "+
		strconv.Itoa(len(streamed))+"\r\n\r\n"+streamed)
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	require.NoError(t, err)
	assert.Contains(t, line, `"role":"assistant"`)
	// Closing the connection ends the handler; server.Close would wait for it.
}

func TestAStreamEndsWhenTheClientGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		slow := &demo.Model{Delay: time.Second}
		out := &recorder{header: http.Header{}}
		out.onFlush = func() {
			if len(out.flushed) == 4 {
				time.AfterFunc(500*time.Millisecond, cancel) // within the next pause
			}
		}
		start := time.Now()
		slow.ServeHTTP(out, httptest.NewRequestWithContext(ctx, http.MethodPost, chatPath, strings.NewReader(streamed)))
		assert.Len(t, out.flushed, 4)
		assert.Equal(t, 3*time.Second+500*time.Millisecond, time.Since(start), "not a pause longer")
	})
}

func TestWordsComeAtTheirPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &recorder{header: http.Header{}}
		start := time.Now()
		demo.New().ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), http.MethodPost, chatPath, strings.NewReader(streamed)))
		words := len(out.flushed) - 3 // first, last, [DONE]
		assert.Equal(t, time.Duration(words)*demo.DefaultDelay, time.Since(start))
	})
}

type brokenPipe struct{ recorder }

func (*brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAStreamEndsWhenItCannotBeWritten(t *testing.T) {
	out := &brokenPipe{recorder{header: http.Header{}}}
	model().ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), http.MethodPost, chatPath, strings.NewReader(streamed)))
	assert.Empty(t, out.flushed)
}
