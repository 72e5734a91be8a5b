package extproc_test

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/extproc/provider/images"
	"github.com/postern-proxy/postern/wire"
)

// An image of a host that the operator named is in the request that Bedrock gets; of
// another host it is refused, by the name of the field, and nobody is asked.
func TestRemoteImages(t *testing.T) {
	const picture = "\x89PNG\r\n\x1a\nthe rest"
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		assert.Equal(t, "images.example.com", r.Host)
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write([]byte(picture))
	}))
	t.Cleanup(server.Close)
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	transport.TLSClientConfig.ServerName = "example.com"
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	s := service(t)
	s.Images = images.Fetcher{Client: &http.Client{Transport: transport}}
	client := serve(t, s)
	ask := func(host string) gjson.Result {
		text := `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://` + host + `/a.png"}}]}]}`
		answers, err := converse(t, client, []string{
			wire.MetaLane, wire.LaneBedrock, wire.MetaPath, "/v1/chat/completions", wire.MetaLength, "300",
			wire.MetaName, "us.anthropic.claude-haiku-4-5-20251001-v1:0", wire.MetaHosts, "images.example.com,*.cdn.example.com",
		}, headers(false), body([]byte(text)))
		require.NoError(t, err)
		last := answers[len(answers)-1]
		if refused := last.GetImmediateResponse(); refused != nil {
			return gjson.ParseBytes(refused.GetBody())
		}
		return gjson.ParseBytes(last.GetRequestBody().GetResponse().GetBodyMutation().GetBody())
	}
	image := ask("images.example.com").Get("messages.0.content.0.image")
	assert.Equal(t, "png", image.Get("format").String())
	assert.Equal(t, base64.StdEncoding.EncodeToString([]byte(picture)), image.Get("source.bytes").String())
	assert.Equal(t, 1, asked)
	assert.Equal(t, "messages[0].content[0].image_url", ask("elsewhere.example.com").Get("error.param").String())
	assert.Equal(t, 1, asked)
}
