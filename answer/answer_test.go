package answer_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/answer"
	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/fault"
)

var noon = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)

func to(groups ...[]config.Target) *config.Model { return &config.Model{Route: groups} }

func provider(name string) config.Target { return config.Target{Provider: name} }

// example has a provider without its secret, which is not usable.
func example() *config.Config {
	zero := 0
	return &config.Config{
		Version: "0123456789ab",
		Providers: map[string]*config.Provider{
			"openai": {Schema: "openai", Key: config.NewSecret("${K}", "sk-secret")},
			"demo":   {Schema: "openai", Builtin: "demo"},
			"away":   {Schema: "openai", Key: config.NewSecret("${NONE}", "")},
		},
		Models: map[string]*config.Model{
			"zeta":            to([]config.Target{provider("demo")}),
			"alpha":           to([]config.Target{provider("away")}, []config.Target{{Provider: "demo", Weight: &zero}, provider("openai")}),
			"lost":            to([]config.Target{provider("away")}),
			"vendor/model-x":  to([]config.Target{provider("openai")}),
			"100% sure?":      to([]config.Target{provider("openai")}),
			"gpt-*":           to([]config.Target{provider("openai")}),
			"gpt-4*":          to([]config.Target{provider("demo")}),
			"gpt-5*":          to([]config.Target{provider("away")}),
			"gpt-4-exact-one": to([]config.Target{provider("openai")}),
		},
	}
}

func handler(c *config.Config) *answer.Handler {
	return &answer.Handler{Config: func() *config.Config { return c }, Created: noon}
}

func sdk(t *testing.T, h http.Handler) openai.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return openai.NewClient(option.WithBaseURL(server.URL+"/v1"), option.WithAPIKey("pk_none"), option.WithMaxRetries(0))
}

func get(t *testing.T, h http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	out := httptest.NewRecorder()
	h.ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	assert.Equal(t, "application/json", out.Header().Get("Content-Type"))
	return out
}

func TestTheListIsWhatWouldBeRouted(t *testing.T) {
	client := sdk(t, handler(example()))
	page, err := client.Models.List(t.Context())
	require.NoError(t, err)
	owners := map[string]string{}
	var ids []string
	for _, one := range page.Data {
		ids = append(ids, one.ID)
		owners[one.ID] = one.OwnedBy
		assert.Equal(t, noon.Unix(), one.Created)
	}
	assert.Equal(t, []string{"100% sure?", "alpha", "gpt-4-exact-one", "vendor/model-x", "zeta"}, ids)
	assert.Equal(t, "openai", owners["alpha"], "neither the provider that is away nor the one with weight 0")
	assert.Equal(t, "demo", owners["zeta"])
}

func TestTheListHasNoMoreThanItsForm(t *testing.T) {
	h := handler(&config.Config{
		Providers: map[string]*config.Provider{"demo": {Builtin: "demo"}},
		Models:    map[string]*config.Model{"m": to([]config.Target{provider("demo")}), "*": to([]config.Target{provider("demo")})},
	})
	assert.JSONEq(t, fmt.Sprintf(`{"object":"list","data":[{"id":"m","object":"model","created":%d,"owned_by":"demo"}]}`, noon.Unix()),
		get(t, h, http.MethodGet, "/v1/models").Body.String())
	assert.JSONEq(t, `{"object":"list","data":[]}`, get(t, handler(&config.Config{}), http.MethodGet, "/v1/models").Body.String())
}

func TestOneModel(t *testing.T) {
	client := sdk(t, handler(example()))
	for id, owner := range map[string]string{
		"zeta": "demo", "vendor/model-x": "openai", "100% sure?": "openai", "gpt-3.5": "openai", "gpt-4o": "demo",
		"gpt-4-exact-one": "openai", "gpt-4/of/mine": "demo", "gpt-4%2F": "demo",
	} {
		one, err := client.Models.Get(t.Context(), id)
		if assert.NoError(t, err, id) {
			assert.Equal(t, id, one.ID)
			assert.Equal(t, owner, one.OwnedBy, id)
		}
	}
	for path, id := range map[string]string{"/v1/models/vendor%2Fmodel-x": "vendor/model-x", "/v1/models/vendor/model-x": "vendor/model-x", "/v1/models/gpt-4//x": "gpt-4//x"} {
		out := get(t, handler(example()), http.MethodGet, path)
		assert.Equal(t, http.StatusOK, out.Code, path)
		assert.Contains(t, out.Body.String(), `"id":"`+id+`"`, path)
	}
}

func TestAModelThatIsNotRoutedIsNotFound(t *testing.T) {
	client := sdk(t, handler(example()))
	for _, id := range []string{"nothing", "lost", "gpt-5", "gpt-5.1", "ZETA", "zeta/", "gpt-4\r\nx: y", "gpt-4\x00", " zeta"} {
		_, err := client.Models.Get(t.Context(), id)
		var e *openai.Error
		require.ErrorAs(t, err, &e, "%q", id)
		assert.Equal(t, http.StatusNotFound, e.StatusCode, "%q", id)
		assert.Equal(t, "model_not_found", e.Code, "%q", id)
		assert.Equal(t, "model", e.Param, "%q", id)
	}
}

func TestOtherMethodsAndPaths(t *testing.T) {
	h := handler(example())
	for _, path := range []string{"/v1/models", "/v1/models/zeta", "/readyz"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			out := get(t, h, method, path)
			assert.Equal(t, http.StatusMethodNotAllowed, out.Code)
			assert.Equal(t, "GET, HEAD", out.Header().Get("Allow"))
			assert.Contains(t, out.Body.String(), "method_not_allowed")
		}
		out := get(t, h, http.MethodHead, path)
		assert.Equal(t, http.StatusOK, out.Code)
		assert.Empty(t, out.Body.String())
		assert.NotEqual(t, "0", out.Header().Get("Content-Length"))
	}
	for _, path := range []string{"/", "/v1", "/v1/models/", "/v1/modelsx", "/v2/models", "/readyz/", "/livez"} {
		out := get(t, h, http.MethodGet, path)
		assert.Equal(t, http.StatusNotFound, out.Code, path)
		assert.Contains(t, out.Body.String(), "unknown_url", path)
	}
}

func TestReady(t *testing.T) {
	h := handler(nil)
	for _, path := range []string{"/readyz", "/v1/models", "/v1/models/zeta"} {
		assert.Equal(t, http.StatusServiceUnavailable, get(t, h, http.MethodGet, path).Code, "before the first configuration: %s", path)
	}
	h = handler(example())
	out := get(t, h, http.MethodGet, "/readyz")
	assert.Equal(t, http.StatusOK, out.Code)
	assert.JSONEq(t, `{"status":"ready","version":"0123456789ab"}`, out.Body.String())
	assert.Equal(t, "no-store", out.Header().Get("Cache-Control"))
}

func TestNotReadyShowsASafeSentenceOnly(t *testing.T) {
	h := handler(example())
	h.Ready = func() error { return errors.New("dial unix /run/secret.sock: refused") }
	out := get(t, h, http.MethodGet, "/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, out.Code)
	assert.Contains(t, out.Body.String(), fault.Unavailable.Sentence())
	assert.NotContains(t, out.Body.String(), "secret")

	h.Ready = func() error {
		return fmt.Errorf("x: %w", &fault.Error{Kind: fault.Internal, Message: "Envoy is still starting.", Cause: errors.New("/run/secret.sock")})
	}
	out = get(t, h, http.MethodGet, "/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, out.Code)
	assert.Contains(t, out.Body.String(), "Envoy is still starting.")
	assert.NotContains(t, out.Body.String(), "secret")
	assert.Equal(t, http.StatusOK, get(t, h, http.MethodGet, "/v1/models").Code, "only readiness depends on it")
}

func TestANewVersionIsSeenAtOnce(t *testing.T) {
	var current atomic.Pointer[config.Config]
	current.Store(example())
	h := &answer.Handler{Config: current.Load}
	other := example()
	other.Version = "ffffffffffff"
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 50 {
				if i%2 == 0 {
					current.Store(other)
				}
				assert.Equal(t, http.StatusOK, get(t, h, http.MethodGet, "/v1/models/zeta").Code)
				assert.Equal(t, http.StatusOK, get(t, h, http.MethodGet, "/readyz").Code)
			}
		})
	}
	group.Wait()
	assert.Contains(t, get(t, h, http.MethodGet, "/readyz").Body.String(), "ffffffffffff")
	assert.Contains(t, get(t, h, http.MethodGet, "/v1/models").Body.String(), `"created":0`)
}
