package lanes_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/postern-proxy/postern/envoy/envoytest"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

const kind = "  kind: {route: [[{provider: one}]], system: Be kind.}\n"

// faulty is a replica that goes wrong in one way, at one message. The health check
// finds nothing wrong with it.
type faulty struct {
	pb.UnimplementedExternalProcessorServer

	at    int // 0: before any message, 1: at the headers, 2: at the body
	how   string
	asked atomic.Int64
}

func (f *faulty) Process(conversation pb.ExternalProcessor_ProcessServer) error {
	f.asked.Add(1)
	for received := 0; ; received++ {
		if received > 0 || f.at > 0 {
			if _, err := conversation.Recv(); err != nil {
				return nil
			}
		}
		now := received+1 == f.at || f.at == 0
		switch {
		case now && f.how == "dies":
			return errors.New("no more")
		case now && f.how == "sleeps":
			<-conversation.Context().Done()
			return nil
		}
		headers := &pb.ProcessingResponse{Response: &pb.ProcessingResponse_RequestHeaders{RequestHeaders: &pb.HeadersResponse{}}}
		body := &pb.ProcessingResponse{Response: &pb.ProcessingResponse_RequestBody{RequestBody: &pb.BodyResponse{}}}
		out := headers
		if (received == 1) != now { // the right answer, or the other one
			out = body
		}
		if conversation.Send(out) != nil {
			return nil
		}
	}
}

// serve runs the replica on a socket until the test ends.
func (f *faulty) serve(t *testing.T, socket string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := grpc.NewServer()
	pb.RegisterExternalProcessorServer(server, f)
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Stop(); <-done })
}

// A replica that breaks its streams, or answers what it was not asked, closes the
// requests it was given, and only those.
func TestAReplicaThatGoesWrong(t *testing.T) {
	for _, c := range []struct {
		at  int
		how string
	}{{0, "dies"}, {1, "dies"}, {2, "dies"}, {1, "answers wrongly"}, {2, "answers wrongly"}} {
		t.Run(c.how+" at message "+string(rune('0'+c.at)), func(t *testing.T) {
			one, two := fake.Start(t), fake.Start(t)
			socket := filepath.Join(shortFolder(t), "r.sock")
			replica := &faulty{at: c.at, how: c.how}
			replica.serve(t, socket)
			g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, kind), Args: []string{"--replica", socket}})
			counted := statuses(t, g, 40, chat("kind"), func(r *http.Response, text string) {
				if r.StatusCode != http.StatusOK {
					unavailable(t, r.StatusCode, text)
				}
			})
			require.Positive(t, replica.asked.Load(), "the replica was never asked")
			require.Positive(t, counted[http.StatusOK], "%v", counted)
			t.Logf("%v", counted)
			require.Equal(t, 40, counted[http.StatusOK]+counted[http.StatusServiceUnavailable], "%v", counted)
			assert.Equal(t, map[int]int{200: 20}, statuses(t, g, 20, chat("plain"), nil), "the lane without Go")
		})
	}
}

func TestASlowServiceEndsItsRequestsAndNoOthers(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	socket := filepath.Join(shortFolder(t), "r.sock")
	(&faulty{at: 2, how: "sleeps"}).serve(t, socket)
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, kind), Args: []string{"--replica", socket}})
	begun := time.Now()
	counted := statuses(t, g, 8, chat("kind"), func(r *http.Response, text string) {
		if r.StatusCode != http.StatusOK {
			unavailable(t, r.StatusCode, text)
		}
	})
	require.Less(t, time.Since(begun), 20*time.Second)
	require.Positive(t, counted[http.StatusServiceUnavailable], "%v", counted)
	require.Equal(t, 8, counted[http.StatusOK]+counted[http.StatusServiceUnavailable], "%v", counted)
}

// With a replica beside it, the service may be restarted at any time.
func TestARestartIsNotSeen(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	socket := filepath.Join(shortFolder(t), "r.sock")
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, kind), Args: []string{"--replica", socket}})
	stop := make(chan struct{})
	done := make(chan map[int]int)
	go func() {
		total := map[int]int{}
		for {
			select {
			case <-stop:
				done <- total
				return
			default:
			}
			for status, n := range statuses(t, g, 4, chat("kind"), nil) {
				total[status] += n
			}
		}
	}()
	for range 3 {
		replica := exec.Command(gate.Binary(t), "extproc", "--data", g.Data, "--socket", socket)
		replica.Env = gate.Environment(t)
		said := &strings.Builder{}
		replica.Stderr = said
		require.NoError(t, replica.Start())
		before := len(one.Requests())
		require.Eventually(t, func() bool { return len(one.Requests()) > before+100 }, 30*time.Second, 10*time.Millisecond)
		require.NoError(t, replica.Process.Signal(os.Interrupt))
		require.NoError(t, replica.Wait(), said.String())
	}
	close(stop)
	total := <-done
	require.Equal(t, []int{http.StatusOK}, keysOf(total), "%v", total)
}

// Envoy outlives the services when somebody else runs it. Without them the lanes
// that need Go are closed, the others open; when they come back, all is as before.
func TestWithoutTheServicesOnlyTheirLanesAreClosed(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	p := servePlatform(t, document(one, two, kind))
	g := p.gate
	ask := func(body string) (int, string) {
		r, text := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions", body)
		return r.StatusCode, text
	}
	for _, body := range []string{chat("plain"), chat("kind"), large("plain", 50_000)} {
		status, text := ask(body)
		require.Equal(t, http.StatusOK, status, text)
	}
	p.kill(t)
	status, text := ask(chat("plain"))
	require.Equal(t, http.StatusOK, status, text)
	status, text = ask(chat("kind"))
	unavailable(t, status, text)
	status, text = ask(large("plain", 50_000))
	unavailable(t, status, text)
	p.start(t)
	require.Eventually(t, func() bool {
		status, _ := ask(chat("kind"))
		return status == http.StatusOK
	}, 20*time.Second, 50*time.Millisecond)
}

// platform is an Envoy of the test's own, and a postern that only serves.
type platform struct {
	gate    *gate.Gate
	postern *exec.Cmd
	args    []string
}

func servePlatform(t *testing.T, config string) *platform {
	t.Helper()
	address := gate.FreeAddress(t)
	data := shortFolder(t)
	file := filepath.Join(data, "postern.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(config, "{{address}}", address)), 0o600))
	p := &platform{
		gate: &gate.Gate{URL: "http://" + address, Address: address, File: file, Data: data},
		args: []string{"serve", "--config", file, "--data", data},
	}
	p.start(t)
	bootstrap := filepath.Join(data, "bootstrap.json")
	require.Eventually(t, func() bool { _, err := os.Stat(bootstrap); return err == nil }, 20*time.Second, 10*time.Millisecond)
	key, err := os.ReadFile(filepath.Join(data, "keys", "development.key"))
	require.NoError(t, err)
	p.gate.Key = strings.TrimSpace(string(key))
	envoy := exec.Command(envoytest.Binary(t), "-c", bootstrap, "--disable-hot-restart", "--log-level", "error")
	require.NoError(t, envoy.Start())
	t.Cleanup(func() { _ = envoy.Process.Kill(); _ = envoy.Wait() })
	require.Eventually(t, func() bool {
		r, err := gate.Client().Get(p.gate.URL + "/readyz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, 30*time.Second, 20*time.Millisecond)
	return p
}

func (p *platform) start(t *testing.T) {
	t.Helper()
	p.postern = exec.Command(gate.Binary(t), p.args...)
	p.postern.Env = append(gate.Environment(t), keys...)
	p.postern.Stderr = os.Stderr
	require.NoError(t, p.postern.Start())
	running := p.postern
	t.Cleanup(func() { _ = running.Process.Kill(); _ = running.Wait() })
}

func (p *platform) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.postern.Process.Kill())
	_ = p.postern.Wait()
}

// shortFolder is a folder whose path leaves room for a socket's name.
func shortFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "pt")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

func keysOf(m map[int]int) []int {
	var all []int
	for k := range m {
		all = append(all, k)
	}
	return all
}
