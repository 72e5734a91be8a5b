package openai_test

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/authority"
	fake "github.com/postern-proxy/postern/test/fake/openai"
)

func TestRecordsWhatArrived(t *testing.T) {
	server := fake.Start(t)
	c := speak(t, server, rawPost(chatBody("")))
	reader := bufio.NewReader(c)
	lines := []fake.HeaderLine{
		{Name: "host", Value: "fake"}, {Name: "CONTENT-length", Value: strconv.Itoa(len(chatBody("")))},
		{Name: "x-One", Value: "1"}, {Name: "X-one", Value: "2"},
	}

	for number := 1; number <= 3; number++ { // on one connection: the ear must find each head
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		last := server.Last()
		assert.Equal(t, number, last.Number)
		assert.Equal(t, lines, last.Lines)
		assert.Equal(t, []string{"1", "2"}, last.Values("X-ONE"))
		assert.Equal(t, chatBody(""), string(last.Body))
		assert.Equal(t, "/v1/chat/completions", last.Path)
		assert.Equal(t, "fake", last.Host)
		assert.Equal(t, "HTTP/1.1", last.Proto)
		assert.Equal(t, c.LocalAddr().String(), last.Remote)
		assert.Empty(t, last.SNI)
		assert.False(t, last.Unsized)
		if number < 3 {
			_, err = io.WriteString(c, rawPost(chatBody("")))
			require.NoError(t, err)
		}
	}
	assert.Len(t, server.Requests(), 3)
	assert.Equal(t, fake.Counts{Connections: 1, Requests: 3, Answered: 3}, settled(t, server))

	server.Reset()
	assert.Empty(t, server.Requests())
	assert.Zero(t, server.Last())
	assert.Zero(t, server.Counts())
}

// settled waits until nothing is being answered: a client has its answer a moment
// before the server has counted it.
func settled(t *testing.T, server *fake.Server) fake.Counts {
	t.Helper()
	eventually(t, func() bool { return server.Counts().Active == 0 }, "all answers end")
	return server.Counts()
}

func TestRecordsTLS(t *testing.T) {
	for name, want := range map[string]string{"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"} {
		t.Run(name, func(t *testing.T) {
			options := []fake.Option{fake.WithTLS(nil, "api.example.com")}
			if name != "h2" {
				options = append(options, fake.WithoutHTTP2())
			}
			server := fake.Start(t, options...)
			c := client(t, server)
			c.Transport.(*http.Transport).TLSClientConfig.ServerName = "api.example.com"
			response, err := c.Get(server.URL() + "/v1/files/a%2Fb?x=1&y=%20")
			require.NoError(t, err)
			body := readAll(t, response)
			require.NoError(t, response.Body.Close())
			assert.JSONEq(t, `{"object":"list","data":[],"has_more":false,"method":"GET","path":"/v1/files/a/b",
				"query":"x=1&y=%20","content_type":"","body_length":0}`, body)
			last := server.Last()
			assert.Equal(t, want, last.Proto)
			assert.Equal(t, "api.example.com", last.SNI)
			assert.Equal(t, "/v1/files/a%2Fb?x=1&y=%20", last.Target)
			assert.Equal(t, name != "h2", last.Lines != nil, "HTTP/2 has no order of arrival to see")
		})
	}
}

func TestSharedAuthority(t *testing.T) {
	shared := authority.New(t)
	one, two := fake.Start(t, fake.WithTLS(shared)), fake.Start(t, fake.WithTLS(shared))
	assert.Equal(t, one.CA(), two.CA())
	response, err := client(t, one).Get(two.URL())
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	other := fake.StartTLS(t)
	_, err = client(t, one).Get(other.URL())
	require.ErrorContains(t, err, "certificate")
	assert.Nil(t, fake.Start(t).CA())
}

func TestKeepsTheBeginningOfBodies(t *testing.T) {
	server := fake.Start(t, fake.WithBodiesUpTo(10))
	body := chatBody(`,"user":"` + strings.Repeat("u", 100_000) + `"`)
	response, err := post(t, server, body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, response.StatusCode, "the answer saw the whole body")
	last := server.Last()
	assert.Equal(t, body[:10], string(last.Body))
	assert.Equal(t, len(body), last.BodyBytes)
	assert.Len(t, last.BodyHash, 64)
}

func TestRecordsABrokenBody(t *testing.T) {
	server := fake.Start(t)
	c := speak(t, server, "POST /v1/embeddings HTTP/1.1\r\nHost: fake\r\nContent-Length: 100\r\n\r\n{\"model\"")
	eventually(t, func() bool { return server.Counts().Active == 1 }, "the head arrives")
	require.NoError(t, c.Close())
	assert.Equal(t, 1, settled(t, server).Aborted)
	last := server.Last()
	require.Error(t, last.BodyError)
	assert.Equal(t, `{"model"`, string(last.Body))
}

func TestChunkedBody(t *testing.T) {
	server := fake.Start(t)
	c := speak(t, server, "POST /v1/other HTTP/1.1\r\nHost: fake\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
	assert.Contains(t, readAll(t, readResponse(t, c)), `"body_length":5`)
	assert.True(t, server.Last().Unsized)
	assert.Equal(t, "abcde", string(server.Last().Body))
}

func TestRefusesWhatIsNotARequest(t *testing.T) {
	server := fake.Start(t)
	for body, code := range map[string]string{
		`{"model":`:     "invalid_json",
		`{}`:            "missing_model",
		`{"model":123}`: "missing_model",
	} {
		response, err := post(t, server, body)
		require.NoError(t, err)
		assert.Equal(t, http.StatusBadRequest, response.StatusCode)
		assert.Contains(t, readAll(t, response), code)
	}
}
