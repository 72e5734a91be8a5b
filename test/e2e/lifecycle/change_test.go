package lifecycle_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// Providers come, go, change their names and come back as others, while a stream from
// one that has gone runs on.
func TestProvidersComeAndGo(t *testing.T) {
	first, second, third := named(t, "first"), named(t, "second"), named(t, "third")
	waiting := make(chan struct{})
	first.ForModel("long", fake.Behavior{Content: longAnswer, Gate: waiting})
	main := func(providers string, by string) string {
		return document(providers, fmt.Sprintf("main: {route: [[{provider: %s}]]}\nlong: {route: [[{provider: %s}]]}\n", by, by))
	}
	steps := []struct{ text, by string }{
		{main(providerLine("a", first.URL()), "a"), "first"},
		{main(providerLine("a", first.URL())+providerLine("b", second.URL()), "b"), "second"}, // added
		{main(providerLine("b", second.URL()), "b"), "second"},                                // a is removed
		{main(providerLine("c", second.URL()), "c"), "second"},                                // b is renamed
		{main(providerLine("a", third.URL()), "a"), "third"},                                  // a is another
	}
	g := gate.Start(t, gate.Settings{Config: steps[0].text})
	v := &versions{address: g.Address}
	v.add(t, steps[0].text, steps[0].by)
	s := openStream(t, g, "long")
	s.next(t)
	traffic := startTraffic(t, g, v)
	for _, step := range steps[1:] {
		v.add(t, step.text, step.by)
		edit(t, g, step.text)
		response, body := g.Chat(t.Context(), t, "main")
		require.Equal(t, http.StatusOK, response.StatusCode, body)
		assert.Equal(t, step.by, response.Header.Get("X-Answered-By"))
	}
	require.Eventually(t, func() bool { return traffic.count.Load() > edits }, patience, glance)
	traffic.stop(t)
	close(waiting)
	text, done := s.rest(t)
	assert.True(t, done, "the stream broke off: %v", s.err)
	assert.Equal(t, longAnswer, text)
	requireOneListener(t, g)
}

func TestAKeyIsRotated(t *testing.T) {
	for place, within := range map[string]time.Duration{
		"beside the configuration": soon,
		"elsewhere":                2*time.Second + soon, // nobody tells of a change there: it is looked for
	} {
		t.Run(place, func(t *testing.T) {
			provider := named(t, "provider")
			key := write(t, "provider.key", "sk-old")
			reference := key
			if place == "beside the configuration" {
				reference = "provider.key"
			}
			text := document(
				fmt.Sprintf("main: {schema: openai, url: %q, key: \"file:%s\"}", provider.URL()+"/v1", reference),
				"main: {route: [[{provider: main}]]}",
			)
			folder := filepath.Dir(key)
			g := gate.Start(t, gate.Settings{Config: text, Folder: map[bool]string{true: folder}[reference != key]})
			v := &versions{address: g.Address}
			v.providers.Store(versionOf(t, g), "provider")
			traffic := startTraffic(t, g, v)
			sent := func(key string) func() bool {
				return func() bool { return provider.Last().Header.Get("Authorization") == "Bearer "+key }
			}
			require.Eventually(t, sent("sk-old"), soon, glance)
			replace(t, key, "sk-new")
			require.Eventually(t, sent("sk-new"), within, glance, "the new key is not in use")
			require.Eventually(t, func() bool { return traffic.count.Load() > edits }, patience, glance)
			traffic.stop(t)
			assert.NotContains(t, g.Output(), "sk-")

			// Without its key a provider is left out, and is back with it.
			require.NoError(t, os.Remove(key))
			status := func(want int) func() bool {
				return func() bool {
					a, err := ask(t.Context(), gate.Client(), g, chatPath, chatBody("main", ""))
					return err == nil && a.status == want
				}
			}
			require.Eventually(t, status(http.StatusNotFound), within, glance)
			replace(t, key, "sk-newer")
			// The route may be back a moment before the secret is.
			back := status(http.StatusOK)
			require.Eventually(t, func() bool { return back() && sent("sk-newer")() }, within, glance)
		})
	}
}

func TestAnAddressTakesARestart(t *testing.T) {
	provider := named(t, "provider")
	text := document(providerLine("main", provider.URL()), "old: {route: [[{provider: main}]]}")
	g := gate.Start(t, gate.Settings{Config: text})
	elsewhere := gate.FreeAddress(t)
	moved := strings.Replace(strings.Replace(text, "{{address}}", elsewhere, 1), "old:", "new:", 1)

	edit(t, g, moved)
	assert.Contains(t, g.Output(), "take effect at the next start")
	response, body := g.Chat(t.Context(), t, "new")
	assert.Equal(t, http.StatusOK, response.StatusCode, "the rest of the edit is in force: %s", body)
	response, _ = g.Chat(t.Context(), t, "old")
	assert.Equal(t, http.StatusNotFound, response.StatusCode)
	assert.True(t, refuses(elsewhere))
	requireOneListener(t, g)

	// The next edit finds the gate as it was left.
	edit(t, g, strings.Replace(moved, "new:", "newer:", 1))
	response, body = g.Chat(t.Context(), t, "newer")
	assert.Equal(t, http.StatusOK, response.StatusCode, body)

	g.Interrupt()
	require.Equal(t, 0, g.Wait(t, patience))
	next := gate.Start(t, gate.Settings{Config: moved, Data: g.Data})
	next.URL = "http://" + elsewhere
	response, body = next.Chat(t.Context(), t, "new")
	assert.Equal(t, http.StatusOK, response.StatusCode, body)
}

// A request keeps the way it was given, though the configuration knows nothing of it
// any more when its first provider gives up: versions later than the gate remembers.
func TestARetryOutlivesItsProvider(t *testing.T) {
	for name, target := range map[string]string{
		"by the client's name for the model": "{provider: second}",
		"by the provider's own":              "{provider: second, model: own}",
	} {
		t.Run(name, func(t *testing.T) {
			arrived, release := make(chan struct{}), make(chan struct{})
			slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				select {
				case <-release:
				case <-r.Context().Done():
				}
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
			t.Cleanup(slow.Close)
			second := named(t, "second")
			text := document(providerLine("first", slow.URL)+providerLine("second", second.URL()),
				"main: {route: [[{provider: first}], ["+target+"]]}")
			g := gate.Start(t, gate.Settings{Config: text})
			answers := make(chan answer, 1)
			go func() {
				defer close(answers)
				if a, err := ask(t.Context(), gate.Client(), g, chatPath, chatBody("main", "")); assert.NoError(t, err) {
					answers <- a
				}
			}()
			<-arrived
			for i := range 12 {
				edit(t, g, document(providerLine("first", slow.URL), fmt.Sprintf("other-%d: {route: [[{provider: first}]]}", i)))
			}
			require.Zero(t, second.Counts().Requests)
			close(release)
			a := <-answers
			assert.Equal(t, http.StatusOK, a.status, a.body)
			assert.Equal(t, "second", a.header.Get("X-Answered-By"))
			want := map[bool]string{true: "own", false: "main"}[strings.Contains(target, "model")]
			assert.Equal(t, want, gjson.GetBytes(second.Last().Body, "model").String())
		})
	}
}
