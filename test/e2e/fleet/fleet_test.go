package fleet_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/test/authority"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/xds"
)

func TestOneControlPlaneManyEnvoys(t *testing.T) {
	h := newHouse(t)

	t.Run("each has its view", func(t *testing.T) {
		for _, cluster := range []string{"edge", "core"} {
			assert.Equal(t, http.StatusOK, h.chat(t, cluster, "small").status)
			kind := h.chat(t, cluster, "kind")
			assert.Equal(t, http.StatusOK, kind.status, "read by the sidecar: %s", kind.body)
			assert.Contains(t, string(h.provider.Last().Body), "Be kind.")
		}
		assert.Equal(t, http.StatusNotFound, h.chat(t, "edge", "large").status)
		assert.Equal(t, http.StatusOK, h.chat(t, "core", "large").status)
		listed, err := h.hosts["edge"].ask(t, h.key, http.MethodGet, "/v1/models", "")
		require.NoError(t, err)
		assert.NotContains(t, listed.body, "large")
		assert.Contains(t, listed.body, "kind")
		dump, err := envoy.Admin{Socket: filepath.Join(h.hosts["edge"].services, "admin.sock")}.ConfigDump(t.Context(), "dynamic_active_clusters")
		require.NoError(t, err)
		assert.NotContains(t, string(dump), "provider/secret", "what a cluster does not use it does not hear of")
	})

	t.Run("a change reaches all", func(t *testing.T) {
		require.Eventually(t, func() bool { return h.current(t) }, patience, glance)
		h.push(t, "second")
	})

	t.Run("a restart disturbs nobody", func(t *testing.T) {
		waiting := make(chan struct{})
		h.provider.Next(1, fake.Behavior{Content: "one two three four", Gate: waiting})
		stream := h.stream(t, "edge")
		before, _ := h.status(t)
		h.serve.stop(t, syscall.SIGKILL)
		for _, cluster := range []string{"edge", "core"} {
			assert.Equal(t, http.StatusOK, h.chat(t, cluster, "small").status, "without a control plane")
			assert.Equal(t, http.StatusOK, h.chat(t, cluster, "kind").status, "and read by the sidecar")
		}
		h.run()
		require.Eventually(t, func() bool { return h.current(t) }, patience, glance)
		after, _ := h.status(t)
		assert.Equal(t, before.Offered, after.Offered)
		h.push(t, "third")
		close(waiting)
		assert.Contains(t, stream(), "[DONE]")
		for _, one := range h.hosts {
			stats, err := envoy.Admin{Socket: filepath.Join(one.services, "admin.sock")}.Stats(t.Context(), "^listener_manager.listener_(modified|added)$")
			require.NoError(t, err)
			for name, value := range stats {
				assert.LessOrEqual(t, value, int64(1), "%s: the listener was built anew", name)
			}
		}
	})

	t.Run("a restart with another configuration loses nothing", func(t *testing.T) {
		flow := h.flow(t, "edge", "core")
		for i := range 2 {
			h.serve.stop(t, syscall.SIGKILL)
			h.one = fmt.Sprintf("renamed-%d", i)
			h.write(t, h.one)
			h.run()
			h.follow(t)
		}
		flow.stop(t)
	})

	t.Run("certificates are replaced", func(t *testing.T) {
		next := authority.New(t)
		for _, one := range h.hosts {
			next.Write(t, one.certs, one.cluster+".example")
		}
		next.Write(t, filepath.Dir(h.files.Key), "127.0.0.1")
		h.serve.stop(t, syscall.SIGTERM)
		h.run()
		require.Eventually(t, func() bool { return h.current(t) }, patience, glance)
		h.push(t, "fourth")
	})

	t.Run("who goes is remembered", func(t *testing.T) {
		h.hosts["core"].envoy.stop(t, syscall.SIGTERM)
		var s xds.Status
		require.Eventually(t, func() bool {
			var ok bool
			s, ok = h.status(t)
			return ok && len(s.Gone) == 1 && s.Gone[0].Node == "host-core" && len(s.Envoys) == 1
		}, patience, glance)
		assert.Equal(t, []string{"edge.example", "edge.example"}, s.Envoys[0].Names)
		assert.Contains(t, s.Table(time.Now()), "host-core")
		t.Log("\n" + s.Table(time.Now()))
	})
}

// push changes the configuration and waits until both Envoys go by it.
func (h *house) push(t *testing.T, name string) {
	t.Helper()
	h.write(t, name)
	begin := time.Now()
	h.follow(t)
	t.Logf("%s was everywhere after %s", name, time.Since(begin).Round(time.Millisecond))
	assert.Less(t, time.Since(begin), 4*time.Second, "2 s for the file to be seen, and 2 s for all to have it")
	require.Eventually(t, func() bool { return h.current(t) }, patience, glance)
	for _, cluster := range []string{"edge", "core"} {
		a := h.chat(t, cluster, "kind")
		assert.Equal(t, http.StatusOK, a.status, "the sidecar knows the version too: %s", a.body)
	}
}

// follow waits until both Envoys go by what lies in the file.
func (h *house) follow(t *testing.T) {
	t.Helper()
	cfg, err := config.Load(h.file())
	require.NoError(t, err)
	for cluster, one := range h.hosts {
		require.Eventually(t, func() bool {
			a, err := one.ask(t, h.key, http.MethodGet, "/v1/models", "")
			return err == nil && a.status == http.StatusOK && a.header.Get("X-Postern-Config") == cfg.Version
		}, patience, glance, "%s does not come to %s", cluster, cfg.Version)
	}
}

// stream begins a streamed answer; what it gives reads it to its end.
func (h *house) stream(t *testing.T, cluster string) (rest func() string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+h.hosts[cluster].address+"/v1/chat/completions",
		strings.NewReader(`{"model":"small","stream":true,"messages":[{"role":"user","content":"Hello"}]}`))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+h.key)
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(t, http.StatusOK, response.StatusCode)
	lines := bufio.NewScanner(response.Body)
	require.True(t, lines.Scan())
	return func() string {
		var all strings.Builder
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
		}
		require.NoError(t, lines.Err(), "the stream was cut")
		return all.String()
	}
}

func TestBootstrapSaysWhatIsMissing(t *testing.T) {
	made := start(t, gate.Binary(t), "bootstrap", "--node", "a")
	<-made.done
	assert.NotZero(t, made.cmd.ProcessState.ExitCode())
	assert.Contains(t, made.printed(), "cluster")
	assert.NotContains(t, made.printed(), "goroutine")
	made = start(t, gate.Binary(t), "bootstrap", "--node", "a", "--cluster", "b", "--control-plane", "here", "--cert", "c", "--key", "k", "--ca", "a")
	<-made.done
	assert.Contains(t, made.printed(), `the control plane's address "here" is not host:port`)
	printed := start(t, gate.Binary(t), "bootstrap", "--node", "a", "--cluster", "b", "--control-plane", "here:1", "--cert", "c", "--key", "k", "--ca", "a")
	<-printed.done
	folder, err := os.Getwd()
	require.NoError(t, err)
	assert.Contains(t, printed.printed(), `"`+filepath.Join(folder, "c")+`"`)
}
