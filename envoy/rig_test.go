package envoy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
)

// wait is how long a test waits for what must happen; it is only used up by failure.
const (
	wait = 30 * time.Second
	tick = 10 * time.Millisecond
)

// receive takes one value from a channel, or fails.
func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case value := <-c:
		return value
	case <-time.After(wait):
		require.FailNow(t, "nothing came")
		panic("not reached")
	}
}

// bootstrap is a complete static configuration: a listener "door" with /direct,
// which Envoy answers itself, and everything else sent to upstream ("host:port").
func bootstrap(t *testing.T, admin, listen, upstream string) []byte {
	t.Helper()
	type object = map[string]any
	type list = []any
	address := func(hostport string) object {
		host, port, err := splitPort(hostport)
		require.NoError(t, err)
		return object{"socket_address": object{"address": host, "port_value": port}}
	}
	routes := list{
		object{"match": object{"path": "/direct"}, "direct_response": object{"status": 200, "body": object{"inline_string": "hello"}}},
		object{"match": object{"prefix": "/"}, "route": object{"cluster": "upstream", "timeout": "0s"}},
	}
	manager := object{
		"@type":        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix":  "door",
		"route_config": object{"virtual_hosts": list{object{"name": "all", "domains": list{"*"}, "routes": routes}}},
		"http_filters": list{object{"name": "router", "typed_config": object{
			"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}},
	}
	text, err := json.Marshal(object{
		"admin": object{"address": object{"pipe": object{"path": admin, "mode": 0o600}}},
		"static_resources": object{
			"listeners": list{object{"name": "door", "address": address(listen),
				"enable_reuse_port": false, // so that a taken port is refused
				"filter_chains":     list{object{"filters": list{object{"name": "http", "typed_config": manager}}}}}},
			"clusters": list{object{"name": "upstream", "type": "STATIC", "connect_timeout": "1s",
				"load_assignment": object{"cluster_name": "upstream", "endpoints": list{object{"lb_endpoints": list{
					object{"endpoint": object{"address": address(upstream)}}}}}}}},
		},
	})
	require.NoError(t, err)
	return text
}

// rig is a supervisor with its real Envoy and an upstream whose streams the test ends.
type rig struct {
	*envoy.Supervisor
	admin  envoy.Admin
	folder string
	events chan envoy.Event
	result chan error

	finish func() // lets every stream of the upstream end
}

// newRig prepares all and starts the upstream; change may adjust the settings.
func newRig(t *testing.T, change func(*envoy.SupervisorSettings)) *rig {
	t.Helper()
	binary := envoytest.Binary(t)
	folder, cleanup, err := envoy.RuntimeFolder(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cleanup)
	gate := make(chan struct{})
	finish := sync.OnceFunc(func() { close(gate) })
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-gate:
			_, _ = io.WriteString(w, "last\n")
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		finish()
		upstream.Close()
	})
	r := &rig{
		admin:  envoy.Admin{Socket: filepath.Join(folder, "admin.sock")},
		folder: folder,
		events: make(chan envoy.Event, 100),
		result: make(chan error, 1),
		finish: finish,
	}
	settings := envoy.SupervisorSettings{
		Binary:      binary,
		Bootstrap:   bootstrap(t, r.admin.Socket, "127.0.0.1:0", upstream.Listener.Addr().String()),
		Folder:      folder,
		Admin:       r.admin,
		StatPrefix:  "door",
		Concurrency: 1,
		OnState:     func(event envoy.Event) { r.events <- event },
	}
	if change != nil {
		change(&settings)
	}
	r.Supervisor, err = envoy.NewSupervisor(settings)
	require.NoError(t, err)
	return r
}

// start runs the supervisor and has it killed when the test ends.
func (r *rig) start(ctx context.Context, t *testing.T) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.result <- r.Run(ctx)
	}()
	t.Cleanup(func() {
		r.Kill()
		<-ended
	})
}

// await drops events until one of the state comes.
func (r *rig) await(t *testing.T, state envoy.State) envoy.Event {
	t.Helper()
	for {
		if event := receive(t, r.events); event.State == state {
			return event
		}
	}
}

// url is the address of the door.
func (r *rig) url(t *testing.T, path string) string {
	t.Helper()
	listeners, err := r.admin.Listeners(t.Context())
	require.NoError(t, err)
	require.Contains(t, listeners, "door")
	return "http://" + listeners["door"] + path
}

// client keeps connections, as an application would, and drops them with the test.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: wait}
}

// stream opens a request that runs until finish, and has read its first line.
func (r *rig) stream(t *testing.T) *bufio.Reader {
	t.Helper()
	response, err := client(t).Get(r.url(t, "/stream"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	body := bufio.NewReader(response.Body)
	line, err := body.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "first\n", line)
	return body
}
