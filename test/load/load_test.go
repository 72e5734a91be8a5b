package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func nothingToDo() error { return nil }

// TestUpstreamIsHTTP asks the mock with a client that takes HTTP seriously.
func TestUpstreamIsHTTP(t *testing.T) {
	for _, together := range []int{0, 1, 5, 100} {
		url := startUpstream(t, &Upstream{Together: together})
		client := &http.Client{Transport: &http.Transport{}}
		t.Cleanup(client.CloseIdleConnections)
		ask := func(body io.Reader) (*http.Response, string) {
			response, err := client.Post(url, "application/json", body)
			require.NoError(t, err)
			text, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusOK, response.StatusCode)
			return response, string(text)
		}
		plain, err := Conversation("m", 30_000, false)
		require.NoError(t, err)
		_, text := ask(strings.NewReader(string(plain)))
		assert.Len(t, text, PlainBytes)
		assert.True(t, json.Valid([]byte(text)))

		streamed, err := Conversation("m", 300, true)
		require.NoError(t, err)
		response, text := ask(io.MultiReader(strings.NewReader(string(streamed)))) // of unknown length: in chunks
		assert.Equal(t, "text/event-stream; charset=utf-8", response.Header.Get("Content-Type"))
		var events Events
		events.Write([]byte(text))
		assert.Equal(t, StreamEvents, events.Count)
		assert.True(t, events.Done)
		for line := range strings.SplitSeq(text, "\n\n") {
			data := strings.TrimPrefix(line, "data: ")
			assert.True(t, data == "" || data == "[DONE]" || json.Valid([]byte(data)), data)
		}
		assert.Equal(t, 1, strings.Count(text, `"total_tokens":150`))
	}
}

func TestUpstreamAfterClose(t *testing.T) {
	u := &Upstream{}
	u.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, u.Serve(listener))
	_, err = net.Dial("tcp", listener.Addr().String())
	assert.Error(t, err)
}

func ask(t *testing.T, url string, stream bool) Ask {
	t.Helper()
	body, err := Conversation("m", 300, stream)
	require.NoError(t, err)
	a := Ask{URL: url, Body: body, Bytes: PlainBytes}
	if stream {
		a.Events = StreamEvents
	}
	return a
}

func TestLoadByRequests(t *testing.T) {
	url := startUpstream(t, &Upstream{})
	for _, stream := range []bool{false, true} {
		begun, ended := 0, 0
		sample, err := Load{Connections: 4, Requests: 50}.Run(t.Context(), ask(t, url, stream),
			func() error { begun++; return nil }, func() error { ended++; return nil })
		require.NoError(t, err)
		assert.Len(t, sample.Total, 50)
		assert.Len(t, sample.First, 50)
		assert.IsNonDecreasing(t, sample.Total)
		assert.LessOrEqual(t, sample.First[0], sample.Total[0])
		assert.Positive(t, sample.First[0])
		assert.GreaterOrEqual(t, sample.Elapsed, sample.Total[49])
		assert.Equal(t, []int{1, 1}, []int{begun, ended})
	}
}

func TestLoadByDuration(t *testing.T) {
	url := startUpstream(t, &Upstream{})
	sample, err := Load{Duration: 50 * time.Millisecond, Warmup: time.Millisecond}.Run(t.Context(), ask(t, url, false), nothingToDo, nothingToDo)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, sample.Elapsed, 50*time.Millisecond)
	assert.NotEmpty(t, sample.Total)
}

func TestLoadKeepsItsConnections(t *testing.T) {
	var connections, requests atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		assert.Equal(t, "Bearer key", r.Header.Get("Authorization"))
		assert.Equal(t, "/v1/x?y=1", r.RequestURI)
		_, _ = io.Copy(w, r.Body)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	a := ask(t, server.URL+"/v1/x?y=1", false)
	a.Bytes = len(a.Body)
	a.Header = map[string]string{"authorization": "Bearer key"}
	_, err := Load{Connections: 3, Requests: 30}.Run(t.Context(), a, nothingToDo, nothingToDo)
	require.NoError(t, err)
	assert.EqualValues(t, 3, connections.Load())
	assert.EqualValues(t, 33, requests.Load(), "one to warm up each connection")
}

func TestBodiesInChunks(t *testing.T) {
	body, err := Conversation("m", 5000, false)
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.EqualValues(t, -1, r.ContentLength)
		assert.Equal(t, []string{"chunked"}, r.TransferEncoding)
		got, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.Equal(t, body, got)
		_, _ = w.Write(got)
	}))
	defer server.Close()
	a := Ask{URL: server.URL, Body: body, Bytes: len(body), Chunked: true}
	_, err = Load{Requests: 3}.Run(t.Context(), a, nothingToDo, nothingToDo)
	require.NoError(t, err)
	require.NoError(t, a.Once(t.Context()))
	a.Bytes++
	require.ErrorContains(t, a.Once(t.Context()), "5001 were expected")
}

// TestAnswersThatAreNotWhole: each must end the run.
func TestAnswersThatAreNotWhole(t *testing.T) {
	event := "9\r\ndata: x\n\n\r\n"
	for name, c := range map[string]struct {
		answer string
		stream bool
		says   string
	}{
		"a 500":                {"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno", false, "500 Oh"},
		"a 200 too short":      {"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", false, "2 bytes"},
		"a body cut":           {"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\nno", false, "1998 bytes short"},
		"no length":            {"HTTP/1.1 200 OK\r\n\r\nno", false, "neither content-length nor chunks"},
		"a wrong length":       {"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\nno", false, "invalid syntax"},
		"a head cut":           {"HTTP/1.1 200 OK\r\ncontent-", false, "unexpected EOF"},
		"silence":              {"", false, "unexpected EOF"},
		"too few events":       {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + strings.Repeat(event, 200) + "0\r\n\r\n", true, "200 events"},
		"a stream cut":         {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + event, true, "before a chunk"},
		"a stream without end": {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + strings.Repeat(event, StreamEvents) + "440\r\n" + strings.Repeat("x", 0x440) + "\r\n0\r\n\r\n", true, "done: false"},
		"a chunk of nonsense":  {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", true, "a chunk's size"},
		"trailers cut":         {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n", true, "trailers"},
		"the last answer":      {"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1024\r\n\r\n" + strings.Repeat("x", 1024), false, "not kept alive"},
	} {
		t.Run(name, func(t *testing.T) {
			url := says(t, c.answer)
			_, err := Load{Connections: 2}.Run(t.Context(), ask(t, url, c.stream), nothingToDo, nothingToDo)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "while warming up")
		})
	}
}

// says is a server that gives each connection the same bytes once its request is
// read, and ends it.
func says(t *testing.T, answer string) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			reader := bufio.NewReader(c)
			if request, err := readHead(reader); err == nil {
				_, _ = reader.Discard(int(request.length))
				_, _ = io.WriteString(c, answer)
			}
			_ = c.Close()
		}
	}()
	return "http://" + listener.Addr().String() + "/"
}

func TestLoadStops(t *testing.T) {
	url := startUpstream(t, &Upstream{})
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	_, err := Load{Duration: time.Hour}.Run(ctx, ask(t, url, false), func() error {
		time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
		return nil
	}, nothingToDo)
	require.ErrorIs(t, err, stop)
	failing := errors.New("no such process")
	_, err = Load{Requests: 1}.Run(t.Context(), ask(t, url, false), func() error { return failing }, nothingToDo)
	require.ErrorIs(t, err, failing)
	_, err = Load{Requests: 1}.Run(t.Context(), ask(t, url, false), nothingToDo, func() error { return failing })
	require.ErrorIs(t, err, failing)
	for _, bad := range []string{"https://127.0.0.1:1/", "http://localhost/", "::"} {
		_, err = Load{Requests: 1}.Run(t.Context(), Ask{URL: bad}, nothingToDo, nothingToDo)
		require.Error(t, err, bad)
	}
}

func TestReportIsWritten(t *testing.T) {
	at := filepath.Join(t.TempDir(), "deep/er")
	require.NoError(t, sampleReport().Write(at, "bench"))
	text, err := os.ReadFile(filepath.Join(at, "bench.json"))
	require.NoError(t, err)
	var read Report
	require.NoError(t, json.Unmarshal(text, &read))
	assert.Equal(t, sampleReport(), read)
	table, err := os.ReadFile(filepath.Join(at, "bench.md"))
	require.NoError(t, err)
	assert.Equal(t, sampleReport().Markdown(), string(table))
}
