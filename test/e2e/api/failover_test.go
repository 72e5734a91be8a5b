package api_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// TestFailover: when the first provider cannot serve, the second does, and the
// client cannot tell but by a header.
func TestFailover(t *testing.T) {
	h := shared(t)
	for name, prepare := range map[string]func(){
		"refused":            func() { h.first.Refuse() },
		"hung up":            func() { h.first.Always(fake.NoAnswer(fake.Close)) },
		"reset":              func() { h.first.Always(fake.NoAnswer(fake.Reset)) },
		"no HTTP":            func() { h.first.Always(fake.Garbage()) },
		"500":                func() { h.first.Always(fake.Status(500)) },
		"503":                func() { h.first.Always(fake.Status(503)) },
		"429":                func() { h.first.Always(fake.RateLimited(1)) },
		"401":                func() { h.first.Always(fake.Status(401)) },
		"403":                func() { h.first.Always(fake.Status(403)) },
		"408":                func() { h.first.Always(fake.Status(408)) },
		"no first byte":      func() { h.first.Always(fake.NoAnswer(fake.Stall)) },
		"silent connections": func() { h.first.Drop(); h.first.Greet(fake.SayNought) },
	} {
		for way, c := range map[string]string{"plain": "", "stream": streaming} {
			t.Run(name+" "+way, func(t *testing.T) {
				for _, s := range []*fake.Server{h.first, h.second} {
					s.Reset()
					require.NoError(t, s.Resume())
				}
				// So that no failures in a row have it left alone.
				require.Equal(t, "first", h.ask(t, clientOf(t, false, nil), chatPath, chatBody("pair", "")).Header.Get("X-Postern-Provider"))
				prepare()
				response := h.ask(t, clientOf(t, false, nil), chatPath, chatBody("pair", c))
				text := read(t, response)
				require.Equal(t, http.StatusOK, response.StatusCode, text)
				assert.Equal(t, []string{"second"}, response.Header["X-Postern-Provider"])
				assert.Contains(t, text, "chat.completion")
				require.Equal(t, 1, h.second.Counts().Requests)
				onlyTheSeconds(t, h, h.second.Last(), chatBody("pair", c))
			})
		}
	}
	require.NoError(t, h.first.Resume())
}

// onlyTheSeconds holds what the second provider got against all that was the first's.
func onlyTheSeconds(t *testing.T, h *house, seen fake.Request, body string) {
	t.Helper()
	knowsNothing(t, h, seen)
	all := fmt.Sprint(seen.Header, seen.Host, seen.Target)
	assert.NotContains(t, all, "first")
	assert.NotContains(t, all, h.first.Address())
	assert.Equal(t, []string{"Bearer " + providerKey("second")}, seen.Values("Authorization"))
	assert.Equal(t, []string{"only-second"}, seen.Values("X-Second"))
	assert.Equal(t, []string{fmt.Sprint(len(body))}, seen.Values("Content-Length"))
	assert.Equal(t, h.second.Address(), seen.Host)
	assert.Equal(t, chatPath, seen.Target)
	assert.Equal(t, body, string(seen.Body))
}

// TestNoFailover where the client is at fault, where the first answered, and where
// nobody is left.
func TestNoFailover(t *testing.T) {
	h := shared(t)
	for _, status := range []int{400, 404, 409, 413, 422} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			h.first.Reset()
			h.second.Reset()
			h.first.Always(fake.Status(status))
			response := h.ask(t, clientOf(t, false, nil), chatPath, chatBody("pair", ""))
			assert.Contains(t, read(t, response), fmt.Sprintf("told to answer %d", status))
			assert.Equal(t, status, response.StatusCode)
			assert.Equal(t, 1, h.first.Counts().Requests)
			assert.Zero(t, h.second.Counts().Requests)
		})
	}
	t.Run("a cut stream", func(t *testing.T) {
		h.first.Reset()
		h.second.Reset()
		h.first.Always(fake.CutStream(fake.Close, 2))
		response := h.ask(t, clientOf(t, true, nil), chatPath, chatBody("pair", streaming))
		_, err := io.ReadAll(response.Body)
		require.Error(t, err)
		assert.Zero(t, h.second.Counts().Requests)
	})
	t.Run("nobody left", func(t *testing.T) {
		h.first.Reset()
		h.second.Reset()
		h.first.Always(fake.Status(500))
		h.second.Always(fake.Status(429))
		response := h.ask(t, clientOf(t, false, nil), chatPath, chatBody("pair", ""))
		assert.Equal(t, 429, response.StatusCode, "the last provider's own answer")
		assert.Contains(t, read(t, response), "told to answer 429")
		assert.Equal(t, []string{"second"}, response.Header["X-Postern-Provider"])
		assert.Equal(t, 1, h.first.Counts().Requests)
		assert.Equal(t, 1, h.second.Counts().Requests)
	})
	t.Run("both silent", func(t *testing.T) {
		h.first.Always(fake.NoAnswer(fake.Stall))
		h.second.Always(fake.NoAnswer(fake.Stall))
		response := h.ask(t, clientOf(t, false, nil), chatPath, chatBody("pair", ""))
		a := answer{status: response.StatusCode, header: response.Header, body: read(t, response)}
		isError(t, a, "provider_timeout", "")
		keepsSecrets(t, h, a)
	})
}

// TestFailoverUnderLoad has the first provider fail every one of many parallel
// requests: Envoy's own bound on parallel retries must not be what clients meet.
func TestFailoverUnderLoad(t *testing.T) {
	h := shared(t)
	h.first.Always(fake.Status(500))
	const clients, each = 40, 10
	c := clientOf(t, true, nil)
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for range each {
				status, _, err := h.whole(t.Context(), c, chatBody("sure", ""))
				assert.Equal(t, http.StatusOK, status, "%v", err)
			}
		})
	}
	group.Wait()
	assert.Equal(t, clients*each, h.second.Counts().Answered)
}

// TestWeights: of 1000 requests 90 in a hundred go to the first. The bound is that of
// a chi-square test with one degree of freedom at one in a million.
func TestWeights(t *testing.T) {
	h := shared(t)
	const n, share = 1000, 0.9
	c := clientOf(t, true, nil)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range n / 10 {
				_, _, err := h.whole(t.Context(), c, chatBody("split", ""))
				assert.NoError(t, err)
			}
		})
	}
	group.Wait()
	first, second := float64(h.first.Counts().Answered), float64(h.second.Counts().Answered)
	require.InDelta(t, n, first+second, 0)
	chi := square(first-n*share)/(n*share) + square(second-n*(1-share))/(n*(1-share))
	assert.Less(t, chi, 23.9, "%.0f to %.0f", first, second)
	h.first.Always(fake.Status(500))
	h.second.Reset()
	for range 20 {
		require.Equal(t, http.StatusOK, h.ask(t, c, chatPath, chatBody("split", "")).StatusCode, "a retry meets the other provider")
	}
	assert.Equal(t, 20, h.second.Counts().Answered)
}

func square(x float64) float64 { return x * x }

// TestProvidersWithoutTheirName fail over as well: a name that does not resolve is a
// provider that cannot be reached.
func TestProvidersWithoutTheirName(t *testing.T) {
	h := &house{main: fake.Start(t)}
	h.Gate = gate.Start(t, gate.Settings{Config: `
listen: {address: "{{address}}"}
providers:
  lost: {schema: openai, url: "http://no-such-host.invalid/v1"}
  main: {schema: openai, url: "` + h.main.URL() + `/v1"}
  bare: {schema: openai, url: "` + h.main.URL() + `/v1", key: "${NOT_SET_KEY}"}
models:
  lost: {route: [[{provider: lost}]]}
  pair: {route: [[{provider: lost}], [{provider: main}]]}
  bare: {route: [[{provider: bare}]]}
  either: {route: [[{provider: bare}], [{provider: main}]]}
`})
	h.knock(t)
	for model, status := range map[string]int{"lost": 502, "pair": 200, "either": 200, "bare": 404} {
		t.Run(model, func(t *testing.T) {
			response := h.ask(t, clientOf(t, false, nil), chatPath, chatBody(model, ""))
			a := answer{status: response.StatusCode, header: response.Header, body: read(t, response)}
			require.Equal(t, status, a.status, a.body)
			switch status {
			case 502:
				isError(t, a, "provider_unreachable", "")
				keepsSecrets(t, h, a)
			case 404:
				isError(t, a, "model_not_found", "model")
				assert.NotContains(t, a.body, "NOT_SET")
			}
		})
	}
}
