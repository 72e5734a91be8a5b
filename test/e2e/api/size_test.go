package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// TestALargeBodyPasses, byte for byte, however it is sent and also to the second
// provider after the first failed.
func TestALargeBodyPasses(t *testing.T) {
	h := shared(t)
	h.first.Always(fake.Status(http.StatusServiceUnavailable))
	for _, model := range []string{"main", "sure"} {
		body := bigBody(model, 19*mebibyte)
		for name, f := range map[string]frame{"sized": sized, "chunked": chunked} {
			t.Run(model+" "+name, func(t *testing.T) {
				a := speak(t, h.Address, http.MethodPost, row{request: request{body: body, frame: f}}.on(h, native).request)
				require.Equal(t, http.StatusOK, a.status, a.body)
				last := h.main.Last()
				if model == "sure" {
					last = h.second.Last()
					assert.Equal(t, hashOf(body), h.first.Last().BodyHash)
				}
				assert.Equal(t, len(body), last.BodyBytes)
				assert.Equal(t, hashOf(body), last.BodyHash)
			})
		}
	}
}

// TestBodiesOfEverySizeTakeTheSameWay round the sizes where a gate may change its
// mind about how a body is read.
func TestBodiesOfEverySizeTakeTheSameWay(t *testing.T) {
	h := shared(t)
	for _, size := range []int{100, 4095, 4096, 8193, 16 << 10, 20479, 20480, 20481, 64 << 10, 65537, 256 << 10, mebibyte, mebibyte + 1} {
		for _, f := range []frame{sized, chunked} {
			body := bigBody("main", size)
			a := speak(t, h.Address, http.MethodPost, row{request: request{body: body, frame: f}}.on(h, native).request)
			require.Equal(t, http.StatusOK, a.status, "%d bytes: %s", size, a.body)
			require.Equal(t, hashOf(body), h.main.Last().BodyHash, "%d bytes", size)
			unknown := strings.Replace(body, `"main"`, `"nain"`, 1)
			a = speak(t, h.Address, http.MethodPost, row{request: request{body: unknown, frame: f}}.on(h, native).request)
			require.Equal(t, http.StatusNotFound, a.status, "%d bytes: %s", size, a.body)
			isError(t, a, "model_not_found", "model")
		}
	}
}

// TestTheBodyLimitIsConfigured: the last byte that fits, and the first that does not.
func TestTheBodyLimitIsConfigured(t *testing.T) {
	main := fake.Start(t)
	h := &house{main: main}
	h.Gate = gate.Start(t, gate.Settings{Config: `
listen: {address: "{{address}}", body_limit: 1MiB}
providers: {main: {schema: openai, url: "` + main.URL() + `/v1"}}
models: {"*": {route: [[{provider: main}]]}}
`})
	h.knock(t)
	for name, f := range map[string]frame{"sized": sized, "chunked": chunked} {
		for _, path := range []string{chatPath, "/v1/files"} {
			t.Run(name+path, func(t *testing.T) {
				good := row{request: request{target: path, body: bigBody("any", mebibyte), frame: f}}.on(h, native).request
				a := speak(t, h.Address, http.MethodPost, good)
				require.Equal(t, http.StatusOK, a.status, a.body)
				main.Reset()
				bad := row{request: request{target: path, body: bigBody("any", mebibyte+1), frame: f}}.on(h, native).request
				a = speak(t, h.Address, http.MethodPost, bad)
				require.Equal(t, http.StatusRequestEntityTooLarge, a.status)
				isError(t, a, "request_too_large", "")
				keepsSecrets(t, h, a)
				assert.Zero(t, main.Counts().Requests)
			})
		}
	}
}
