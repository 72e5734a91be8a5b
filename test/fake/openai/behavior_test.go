package openai_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

func TestScriptOrder(t *testing.T) {
	server := fake.Start(t)
	server.Always(fake.Status(500))
	server.ForModel("m2", fake.Status(403))
	server.ForUser("eve", fake.Status(401))
	server.Next(2, fake.Status(503))
	server.Next(1, fake.RateLimited(1500*time.Millisecond))
	ask := func(body string) *http.Response {
		response, err := post(t, server, body)
		require.NoError(t, err)
		return response
	}
	assert.Equal(t, 503, ask(`{"model":"m2"}`).StatusCode)
	_, err := sdkClient(t, server).Models.List(t.Context())
	var refused *sdk.Error
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, 500, refused.StatusCode, "the list of models is not the next request")
	assert.Equal(t, 503, ask(`{"model":"m"}`).StatusCode)
	limited := ask(`{"model":"m"}`)
	assert.Equal(t, 429, limited.StatusCode)
	assert.Equal(t, "2", limited.Header.Get("Retry-After"))
	assert.Contains(t, readAll(t, limited), `"code":"rate_limit_exceeded"`)
	assert.Equal(t, 403, ask(`{"model":"m2","user":"eve"}`).StatusCode)
	assert.Equal(t, 401, ask(`{"model":"m","user":"eve"}`).StatusCode)
	assert.Equal(t, 400, ask(`{"model":"m","user":"fake:400"}`).StatusCode)
	assert.Equal(t, 500, ask(`{"model":"m","user":"fake:no such word"}`).StatusCode)
	server.Always(fake.Behavior{})
	assert.Equal(t, 200, ask(`{"model":"m"}`).StatusCode)
	server.Reset()
	assert.Equal(t, 200, ask(`{"model":"m2"}`).StatusCode)
}

// TestFirstChunkWhileTheServerWaits is what the gate exists for: that the first
// event is there before the second was made.
func TestFirstChunkWhileTheServerWaits(t *testing.T) {
	server := fake.Start(t)
	gate := make(chan struct{})
	server.Always(fake.Behavior{Gate: gate})
	response, err := post(t, server, chatBody(streaming))
	require.NoError(t, err)
	reader := bufio.NewReader(response.Body)
	first, err := reader.ReadString('\n')
	require.NoError(t, err)
	assert.Contains(t, first, `"role":"assistant"`)
	assert.Equal(t, 1, server.Counts().Active)

	gate <- struct{}{} // received only once the server waits for it
	second, err := reader.ReadString('}')
	require.NoError(t, err)
	assert.Contains(t, second, "data:")
	close(gate)
	rest, err := io.ReadAll(reader)
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(string(rest), "data: [DONE]\n\n"))
}

func TestClientGoneIsCounted(t *testing.T) {
	for name, b := range map[string]fake.Behavior{
		"in a stream":    {Gate: make(chan struct{})},
		"in a stall":     fake.BreakOff(fake.Stall),
		"in the silence": fake.NoAnswer(fake.Stall),
		"in the delay":   {FirstByteDelay: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			server := fake.Start(t)
			server.Always(b)
			c := speak(t, server, rawPost(chatBody(streaming)))
			eventually(t, func() bool { return len(server.Requests()) == 1 }, "the request arrives")
			require.NoError(t, c.Close())
			assert.Equal(t, 1, settled(t, server).Aborted)
		})
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	server := fake.Start(t, fake.WithTLS(nil))
	server.Always(fake.NoAnswer(fake.Stall))
	failed := make(chan error, 1)
	c := client(t, server)
	go func() {
		response, err := c.Get(server.URL())
		if err == nil {
			_ = response.Body.Close()
		}
		failed <- err
	}()
	eventually(t, func() bool { return server.Counts().Active == 1 }, "the request arrives")
	server.Close()
	require.Error(t, <-failed)
	assert.Zero(t, server.Counts().Aborted, "the client did nothing wrong")
	server.Close()
	require.NoError(t, server.Resume(), "after the end there is nothing to resume")
	_, err := net.Dial("tcp", server.Address())
	assert.Error(t, err)
}

func TestBrokenAnswers(t *testing.T) {
	cases := map[string]struct {
		behavior fake.Behavior
		body     string
		early    bool // the client gets no headers
		has      string
		hasNot   string
	}{
		"closed at once":            {behavior: fake.NoAnswer(fake.Close), early: true},
		"reset at once":             {behavior: fake.NoAnswer(fake.Reset), early: true},
		"garbage":                   {behavior: fake.Garbage(), early: true},
		"closed after headers":      {behavior: fake.BreakOff(fake.Close)},
		"reset after headers":       {behavior: fake.BreakOff(fake.Reset)},
		"cut after two events":      {behavior: fake.CutStream(fake.Close, 2), body: streaming, has: "You ", hasNot: "said"},
		"cut inside an event":       {behavior: fake.Behavior{Break: fake.Break{How: fake.Close, Bytes: 20}}, body: streaming, has: "data: {", hasNot: "You"},
		"cut before content-length": {behavior: fake.Behavior{Break: fake.Break{How: fake.Close, Bytes: 20}}, has: "{", hasNot: "You"},
	}
	for name, c := range cases {
		for _, secure := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " h2"}[secure], func(t *testing.T) {
				var options []fake.Option
				if secure {
					options = append(options, fake.WithTLS(nil))
				}
				server := fake.Start(t, options...)
				server.Always(c.behavior)
				response, err := post(t, server, chatBody(c.body))
				overtaken := secure && c.behavior.Break.How == fake.Reset && err != nil
				if c.early || overtaken {
					require.Error(t, err)
				} else {
					require.NoError(t, err)
					body, err := io.ReadAll(response.Body)
					require.Error(t, err)
					assert.Contains(t, string(body), c.has)
					if c.hasNot != "" {
						assert.NotContains(t, string(body), c.hasNot)
					}
				}
				counts := settled(t, server)
				assert.Equal(t, counts.Requests, counts.Broken, "clients may try again, and meet the same")
				assert.Positive(t, counts.Broken)
			})
		}
	}
}

func TestOddButWholeAnswers(t *testing.T) {
	ordinary := `"content":"You said: one two three"`
	cases := map[string]struct {
		behavior fake.Behavior
		body     string
		check    func(t *testing.T, response *http.Response, body string)
	}{
		"byte by byte": {behavior: fake.Behavior{ByteByByte: true}},
		"byte by byte stream": {behavior: fake.Behavior{ByteByByte: true}, body: streaming, check: func(t *testing.T, _ *http.Response, body string) {
			assert.True(t, strings.HasSuffix(body, "data: [DONE]\n\n"))
		}},
		"closed at the end": {behavior: fake.Behavior{CloseDelimited: true}, check: func(t *testing.T, response *http.Response, body string) {
			assert.EqualValues(t, -1, response.ContentLength)
			assert.Empty(t, response.TransferEncoding)
			assert.True(t, response.Close)
			assert.Contains(t, body, ordinary)
		}},
		"garbage JSON": {behavior: fake.GarbageJSON(), check: func(t *testing.T, response *http.Response, body string) {
			assert.Equal(t, 200, response.StatusCode)
			assert.True(t, strings.HasSuffix(body, `"mess`))
		}},
		"huge headers": {behavior: fake.HugeHeaders(60_000), check: func(t *testing.T, response *http.Response, _ string) {
			size := 0
			for name, values := range response.Header {
				if strings.HasPrefix(name, "X-Huge-") {
					size += len(values[0])
				}
			}
			assert.Equal(t, 60_000, size)
		}},
		"big": {behavior: fake.Behavior{Size: 5 << 20}, check: func(t *testing.T, _ *http.Response, body string) {
			assert.Greater(t, len(body), 5<<20)
		}},
		"redirect": {behavior: fake.Redirect("http://elsewhere.invalid/"), check: func(t *testing.T, response *http.Response, _ string) {
			assert.Equal(t, 307, response.StatusCode)
			assert.Equal(t, "http://elsewhere.invalid/", response.Header.Get("Location"))
		}},
		"pieces": {behavior: fake.Behavior{Content: "a b c d e f", Pieces: 2}, body: streaming, check: func(t *testing.T, _ *http.Response, body string) {
			assert.Equal(t, 5, strings.Count(body, "data: "), "role, two pieces, reason, end")
			assert.Contains(t, body, `"content":"a b c "`)
		}},
		"headers and status": {behavior: fake.Behavior{Status: 202, Header: http.Header{"X-A": {"1", "2"}}, Body: []byte("as it is")}, check: func(t *testing.T, response *http.Response, body string) {
			assert.Equal(t, 202, response.StatusCode)
			assert.Equal(t, []string{"1", "2"}, response.Header["X-A"])
			assert.Equal(t, "as it is", body)
		}},
		"slow to read": {behavior: fake.Behavior{ReadPause: time.Millisecond}},
		"rude":         {behavior: fake.Behavior{IgnoreBody: true, Status: 413, Body: []byte("no")}, check: func(t *testing.T, response *http.Response, _ string) { assert.Equal(t, 413, response.StatusCode) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := fake.Start(t)
			server.Always(c.behavior)
			speaker := speak(t, server, rawPost(chatBody(c.body)))
			response := readResponse(t, speaker)
			body := readAll(t, response)
			if c.check == nil {
				assert.Contains(t, body, ordinary)
			} else {
				c.check(t, response, body)
			}
			assert.Equal(t, 1, settled(t, server).Answered)
		})
	}
}

// TestByteByByteReachesTheWire listens on pipes, where each write meets a read of
// its own: a socket would join what it buffers.
func TestByteByByteReachesTheWire(t *testing.T) {
	listener := &pipes{calls: make(chan net.Conn), closed: make(chan struct{})}
	server := fake.Start(t, fake.WithListener(listener))
	server.Always(fake.Behavior{ByteByByte: true})
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	require.NoError(t, ours.SetDeadline(time.Now().Add(patience)))
	listener.calls <- theirs
	_, err := io.WriteString(ours, rawPost(chatBody("")))
	require.NoError(t, err)
	head, buffer := "", make([]byte, 4096)
	for !strings.HasSuffix(head, "\r\n\r\n") {
		n, err := ours.Read(buffer)
		require.NoError(t, err)
		require.Equal(t, 1, n, "after %q", head)
		head += string(buffer[:n])
	}
	assert.Contains(t, head, "Content-Type: application/json")
	n, err := ours.Read(buffer)
	require.NoError(t, err)
	assert.Equal(t, 1, n, "the body too")
}

// pipes is a listener for net.Pipe.
type pipes struct {
	calls  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func TestReadsABodySlowly(t *testing.T) {
	server := fake.Start(t)
	server.Always(fake.Behavior{ReadPause: time.Millisecond})
	for _, size := range []int{0, 1, 16 << 10, 16<<10 + 1, 100_000} {
		body := chatBody(`,"pad":"` + strings.Repeat("p", size) + `"`)
		response, err := post(t, server, body)
		require.NoError(t, err)
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, len(body), server.Last().BodyBytes)
		assert.NoError(t, server.Last().BodyError)
	}
}

func TestRefuseAndResume(t *testing.T) {
	server := fake.Start(t)
	c := client(t, server)
	get := func() error {
		response, err := c.Get(server.URL())
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		return err
	}
	address := server.Address()
	for range 3 {
		require.NoError(t, get())
		server.Refuse()
		server.Refuse()
		eventually(t, func() bool { return get() != nil }, "the kept connection ends too")
		require.ErrorContains(t, get(), "refused")
		require.NoError(t, server.Resume())
		require.NoError(t, server.Resume())
		assert.Equal(t, address, server.Address())
	}
	require.NoError(t, get())
}

func TestDrop(t *testing.T) {
	server := fake.Start(t)
	server.Always(fake.Behavior{Gate: make(chan struct{})})
	response, err := post(t, server, chatBody(streaming))
	require.NoError(t, err)
	server.Drop()
	_, err = io.ReadAll(response.Body)
	require.Error(t, err)
	server.Reset()
	response, err = post(t, server, chatBody(""))
	require.NoError(t, err)
	assert.Equal(t, 200, response.StatusCode)
}

func TestGreetings(t *testing.T) {
	server := fake.Start(t)
	for _, g := range []fake.Greeting{fake.HangUp, fake.SlamDoor, fake.Babble} {
		server.Greet(g)
		c, err := net.Dial("tcp", server.Address())
		if g == fake.SlamDoor && errors.Is(err, syscall.ECONNRESET) {
			continue // the reset came while we were still connecting
		}
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		heard, err := io.ReadAll(c)
		assert.Equal(t, g == fake.SlamDoor, err != nil, "only a reset is an error")
		assert.Equal(t, g == fake.Babble, len(heard) > 0)
		require.NoError(t, c.Close())
	}
	server.Greet(fake.SayNought)
	c := speak(t, server, rawPost(chatBody("")))
	eventually(t, func() bool { return server.Counts().Connections == 4 }, "the connection is accepted")
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	assert.True(t, timeout.Timeout())
	assert.Zero(t, server.Counts().Requests)
	server.Greet(fake.Welcome)
	response, err := post(t, server, chatBody(""))
	require.NoError(t, err)
	assert.Equal(t, 200, response.StatusCode)
}

func TestNamedWords(t *testing.T) {
	for _, word := range []string{
		"500", "close", "reset", "silence", "stall", "cut", "garbage", "garbage-json", "bytes",
		"close-delimited", "huge-headers", "big", "slow",
	} {
		b, ok := fake.Named(word)
		assert.True(t, ok, word)
		assert.NotEqual(t, fake.Behavior{}, b, word)
	}
	for _, word := range []string{"", "99", "600", "nonsense"} {
		_, ok := fake.Named(word)
		assert.False(t, ok, word)
	}
}

func TestOnAListenerOfItsOwn(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, err := fake.New(fake.WithListener(listener))
	require.NoError(t, err)
	defer server.Close()
	assert.Equal(t, listener.Addr().String(), server.Address())
	assert.Equal(t, "http://"+server.Address(), server.URL())
}
