package lifecycle_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/gate"
)

// stream is a streamed answer as it comes.
type stream struct {
	header http.Header
	events chan string // the data of each; closed at the end
	err    error       // why it ended before its time; valid when events is closed
}

// openStream asks for a streamed answer and returns when it has begun.
func openStream(t *testing.T, g *gate.Gate, model string) *stream {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := g.Send(t.Context(), client, chatPath, chatBody(model, `,"stream":true`))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	s := &stream{header: response.Header, events: make(chan string, 1000)}
	go func() {
		defer close(s.events)
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				s.events <- data
			}
		}
		s.err = lines.Err()
	}()
	t.Cleanup(func() { // its connection ends with the test's context
		for range s.events {
		}
	})
	return s
}

// next is the next event; the end of the stream fails the test.
func (s *stream) next(t *testing.T) string {
	t.Helper()
	select {
	case data, ok := <-s.events:
		if !ok {
			require.NoError(t, s.err, "the stream broke off")
			require.Fail(t, "the stream ended early")
		}
		return data
	case <-time.After(patience):
		require.Fail(t, "the stream is silent")
		return ""
	}
}

// words are the model's words in an event.
func words(event string) string { return gjson.Get(event, "choices.0.delta.content").String() }

// rest reads to the end: the words, and whether [DONE] came last.
func (s *stream) rest(t *testing.T) (text string, done bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case data, ok := <-s.events:
			if !ok {
				return text, done
			}
			done = data == "[DONE]"
			if !done {
				text += words(data)
			}
		case <-timeout:
			require.Fail(t, "the stream does not end")
		}
	}
}

// line is one connection that is never given up: http.Transport's own would be
// dialled anew without a word.
type line struct {
	net.Conn
	reader *bufio.Reader
}

// newLine takes a connection over and closes it with the test.
func newLine(t *testing.T, c net.Conn) *line {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	return &line{Conn: c, reader: bufio.NewReader(c)}
}

// RoundTrip sends a request when the answer before was read to its end. An answer
// that announces the connection's end is an error.
func (l *line) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if err := request.Write(l); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(l.reader, request)
	if err == nil && response.Close {
		_ = response.Body.Close()
		err = errors.New("the gate closes the connection")
	}
	return response, err
}
