package bedrock_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/envoy"
	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// replicated is a gate with a route of each kind, whose answers in another form need the
// service that reads bodies three times a request.
func replicated(t *testing.T, args ...string) *house {
	t.Helper()
	h := &house{bedrock: fake.Start(t), openai: openai.Start(t)}
	h.Gate = gate.Start(t, gate.Settings{
		Config: "listen: {address: \"{{address}}\"}\nproviders:\n" + h.providers() + "models:\n" + only("haiku", claude) +
			"  back: {route: [[{provider: aws, model: \"" + claude + "\"}], [{provider: openai}]]}\n",
		Env: append(credentials(fake.Test), "OPENAI_KEY=k"), Args: args, Second: true,
	})
	return h
}

// flow asks without end, and remembers when each request began and ended, and how.
type flow struct {
	mu   sync.Mutex
	all  []asked
	stop context.CancelFunc
	done sync.WaitGroup
}

type asked struct {
	began, ended time.Time
	status       int
	text         string
}

func (h *house) flow(t *testing.T, callers int) *flow {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	f := &flow{stop: cancel}
	for i := range callers {
		f.done.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				a := h.once(hello([]string{"haiku", "back"}[n%2], []string{"", streaming}[n/2%2]))
				f.mu.Lock()
				f.all = append(f.all, a)
				f.mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { cancel(); f.done.Wait() })
	return f
}

// once asks, and takes an answer that breaks off as one, with the status 0.
func (h *house) once(body string) asked {
	a := asked{began: time.Now()}
	response, err := h.Send(context.Background(), gate.Client(), "/v1/chat/completions", body)
	if err == nil {
		defer response.Body.Close()
		var text []byte
		text, err = io.ReadAll(response.Body)
		a.status, a.text = response.StatusCode, string(text)
	}
	if err != nil {
		a.status, a.text = 0, err.Error()+": "+a.text
	}
	a.ended = time.Now()
	return a
}

// end stops asking and gives what there was.
func (f *flow) end() []asked {
	f.stop()
	f.done.Wait()
	return f.all
}

func (f *flow) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all)
}

// more waits for so many further answers.
func (f *flow) more(t *testing.T, n int) {
	t.Helper()
	before := f.count()
	require.Eventually(t, func() bool { return f.count() >= before+n }, 60*time.Second, 5*time.Millisecond)
}

// second waits until the gate's second process is another than before, and has a health
// check behind it; it gives its id.
func (h *house) second(t *testing.T, before int) int {
	t.Helper()
	pid := 0
	require.Eventually(t, func() bool {
		status := h.status(t)
		pid = int(status.Get("second.pid").Int())
		return pid != 0 && pid != before && h.serving() == 2
	}, 60*time.Second, 20*time.Millisecond, "there is one")
	return pid
}

func (h *house) status(t *testing.T) gjson.Result {
	t.Helper()
	printed, err := exec.Command(gate.Binary(t), "status", "--json", "--data", h.Data).Output()
	require.NoError(t, err)
	return gjson.ParseBytes(printed)
}

// serving is how many replicas Envoy's health checks find well.
func (h *house) serving() int {
	folder, err := os.ReadFile(filepath.Join(h.Data, "run", "folder"))
	if err != nil {
		return 0
	}
	const name = "cluster.postern-process.membership_healthy"
	stats, err := envoy.Admin{Socket: filepath.Join(string(folder), "admin.sock")}.Stats(context.Background(), name)
	if err != nil {
		return 0
	}
	return int(stats[name])
}

// TestTheSecondProcessMayDie under load: only requests that it was at work on may fail, and
// it comes back. What it knows it has from the gate, a changed configuration too.
func TestTheSecondProcessMayDie(t *testing.T) {
	h := replicated(t)
	pid := h.second(t, 0)
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	require.NoError(t, err)
	for _, name := range []string{"OPENAI_KEY", "AWS_"} {
		assert.NotContains(t, string(environment), name, "it has no credential of a provider")
	}
	f := h.flow(t, 6)
	f.more(t, 100)
	var gone []time.Time
	for range 2 {
		killed := time.Now()
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		require.Eventually(t, func() bool { return dead(pid) }, 10*time.Second, time.Millisecond)
		gone = append(gone, killed, time.Now())
		pid = h.second(t, pid)
		f.more(t, 100)
	}
	all := f.end()
	failed := 0
	for _, a := range all {
		if a.status == http.StatusOK {
			continue
		}
		failed++
		assert.Contains(t, []int{0, http.StatusServiceUnavailable}, a.status, a.text)
		during := func(from, to time.Time) bool { return a.began.Before(to) && a.ended.After(from) }
		assert.True(t, during(gone[0], gone[1]) || during(gone[2], gone[3]), "%s to %s: it was not under way when the process died", a.began, a.ended)
	}
	assert.LessOrEqual(t, failed, 2*6, "of %d", len(all))
	t.Logf("%d of %d failed", failed, len(all))

	// A configuration that only the gate has read.
	h.Write(t, "listen: {address: \"{{address}}\"}\nproviders:\n"+h.providers()+"models:\n"+only("other", nova))
	require.Eventually(t, func() bool { r, _ := h.ask(t, hello("other", "")); return r.StatusCode == http.StatusOK }, 30*time.Second, 100*time.Millisecond)
	for range 20 {
		r, text := h.ask(t, hello("other", ""))
		assert.Equal(t, http.StatusOK, r.StatusCode, text)
	}
	h.bedrock.NoRefusals(t)
}

// dead says that a process is no more, or waits to be seen off.
func dead(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(text), ") Z ")
}

// TestTheSecondProcessMayHang: requests that are sent to it wait until it is found out, and
// then nobody waits any more.
func TestTheSecondProcessMayHang(t *testing.T) {
	h := replicated(t)
	pid := h.second(t, 0)
	f := h.flow(t, 3)
	f.more(t, 30)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	require.Eventually(t, func() bool { return h.serving() == 1 }, 10*time.Second, 20*time.Millisecond, "it is found out")
	found := time.Now()
	for range 20 {
		r, text := h.ask(t, hello("back", ""))
		require.Equal(t, http.StatusOK, r.StatusCode, text)
	}
	assert.Less(t, time.Since(found), 5*time.Second, "nobody waits for it any more")
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	require.Eventually(t, func() bool { return h.serving() == 2 }, 10*time.Second, 20*time.Millisecond, "it is back")
	for _, a := range f.end() {
		assert.Equal(t, http.StatusOK, a.status, "those who waited were served: %s", a.text)
	}
	h.bedrock.NoRefusals(t)
}

// TestTheTranslatorsReplicaMayGo: a replica that somebody else runs may be stopped at any
// time, as when it is put in another version's place.
func TestTheTranslatorsReplicaMayGo(t *testing.T) {
	folder, err := os.MkdirTemp("", "postern") // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket := filepath.Join(folder, "r.sock")
	h := replicated(t, "--replica", socket, "--own-replica=false")
	f := h.flow(t, 3)
	for range 2 {
		replica := exec.Command(gate.Binary(t), "extproc", "--data", h.Data, "--socket", socket)
		replica.Env = gate.Environment(t)
		require.NoError(t, replica.Start())
		require.Eventually(t, func() bool { return h.serving() == 2 }, 30*time.Second, 20*time.Millisecond)
		f.more(t, 50)
		require.NoError(t, replica.Process.Signal(os.Interrupt))
		require.NoError(t, replica.Wait())
	}
	for _, a := range f.end() {
		assert.Equal(t, http.StatusOK, a.status, a.text)
	}
	assert.False(t, h.status(t).Get("second").Exists())
	h.bedrock.NoRefusals(t)
}
