package fleet_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/test/authority"
	"github.com/postern-proxy/postern/test/fake/aws"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/xds"
)

func TestOneControlPlaneManyEnvoys(t *testing.T) {
	h := newHouse(t, nil, "edge", "core")

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

	t.Run("a sidecar says what it knows", func(t *testing.T) {
		edge := h.hosts["edge"]
		status := h.command(t, "status", "--data", edge.data)
		assert.Contains(t, status, "of an Envoy of the cluster edge")
		assert.Contains(t, status, "small")
		assert.NotContains(t, status, "large", "of its view alone")
		require.Eventually(t, func() bool {
			text, err := os.ReadFile(filepath.Join(edge.data, "usage.log"))
			return err == nil && strings.Contains(string(text), `"model":"small"`) &&
				strings.Contains(h.command(t, "top", "--once", "--data", edge.data), "small")
		}, patience, glance)
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

	t.Run("a refusal is seen", func(t *testing.T) {
		trust := filepath.Join(h.hosts["core"].services, "trust.pem")
		kept, err := os.ReadFile(trust)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(trust, []byte("no authorities"), 0o600))
		flow := h.flow(t, "edge", "core")
		h.safe = "https://127.0.0.1:9/v1"
		h.write(t, "refused")
		require.Eventually(t, func() bool {
			s, ok := h.status(t)
			return ok && state(s, "host-core") == "refused Cluster" && state(s, "host-edge") == "current"
		}, patience, glance, "%v", func() xds.Status { s, _ := h.status(t); return s }())
		table := h.table(t)
		assert.Regexp(t, `host-core refused Cluster [0-9a-f]+ \(provider/safe\): .*trust`, table)
		t.Log("\n" + table)

		// Envoy takes it in another form, once it can.
		require.NoError(t, os.WriteFile(trust, kept, 0o600))
		h.safe = "https://127.0.0.1:10/v1"
		h.write(t, "taken")
		require.Eventually(t, func() bool { return h.current(t) }, patience, glance)
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

// state is how an Envoy stands.
func state(s xds.Status, node string) string {
	for _, e := range s.Envoys {
		if e.Node == node {
			return e.State(s.Offered, time.Now())
		}
	}
	return "away"
}

// A set that is pushed to Parameter Store, or put back in force, is what the fleet goes by
// two seconds after the next look; the sidecars too, and no request is lost.
func TestAFleetFollowsParameterStore(t *testing.T) {
	h := newHouse(t, aws.Start(t), "edge")
	flow := h.flow(t, "edge")
	first, err := config.Load(h.file())
	require.NoError(t, err)
	var took []time.Duration
	follow := func(version string) {
		begin := time.Now()
		h.followTo(t, version)
		took = append(took, time.Since(begin))
	}
	for _, name := range []string{"second", "third"} {
		h.one = name
		h.write(t, name)
		cfg, err := config.Load(h.file())
		require.NoError(t, err)
		follow(cfg.Version)
	}
	h.command(t, "config", "rollback", "1", "--env", "fleet")
	follow(first.Version)
	flow.stop(t)
	assert.Contains(t, h.command(t, "config", "history", "--env", "fleet"), "rollback")
	t.Logf("%v", took)
	slices.Sort(took)
	assert.Less(t, took[1], poll+2*time.Second, "%v", took) // a busy machine may be late once
	require.Eventually(t, func() bool { return h.current(t) }, patience, glance)
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
	h.followTo(t, cfg.Version)
}

func (h *house) followTo(t *testing.T, version string) {
	t.Helper()
	for cluster, one := range h.hosts {
		require.Eventually(t, func() bool {
			a, err := one.ask(t, h.key, http.MethodGet, "/v1/models", "")
			return err == nil && a.status == http.StatusOK && a.header.Get("X-Postern-Config") == version
		}, patience, glance, "%s does not come to %s", cluster, version)
	}
}

// table is what postern status prints.
func (h *house) table(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(gate.Binary(t), "status", "--data", h.data)
	cmd.Env = h.env
	text, _ := cmd.Output() // it fails where not all is well
	return string(text)
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
	made := start(t, gate.Environment(t), gate.Binary(t), "bootstrap", "--node", "a")
	<-made.done
	assert.NotZero(t, made.cmd.ProcessState.ExitCode())
	assert.Contains(t, made.printed(), "cluster")
	assert.NotContains(t, made.printed(), "goroutine")
	made = start(t, gate.Environment(t), gate.Binary(t), "bootstrap", "--node", "a", "--cluster", "b", "--control-plane", "here", "--cert", "c", "--key", "k", "--ca", "a")
	<-made.done
	assert.Contains(t, made.printed(), `the control plane's address "here" is not host:port`)
	printed := start(t, gate.Environment(t), gate.Binary(t), "bootstrap", "--node", "a", "--cluster", "b", "--control-plane", "here:1", "--cert", "c", "--key", "k", "--ca", "a")
	<-printed.done
	folder, err := os.Getwd()
	require.NoError(t, err)
	assert.Contains(t, printed.printed(), `"`+filepath.Join(folder, "c")+`"`)
}
