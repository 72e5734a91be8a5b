package envoy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// adminTimeout bounds a call whose context has no deadline of its own.
	adminTimeout = 5 * time.Second
	// adminAnswer is the most that is read of one answer, in bytes.
	adminAnswer = 256 << 20
)

// Admin is a client of Envoy's admin interface
// (https://www.envoyproxy.io/docs/envoy/latest/operations/admin). Each call has a
// connection of its own, because calls are rare and an Envoy that is stopping
// should not wait for an idle one.
type Admin struct {
	Socket string // path of the Unix socket
}

// Ready is nil once Envoy has its configuration and accepts connections.
func (a Admin) Ready(ctx context.Context) error {
	_, err := a.call(ctx, http.MethodGet, "/ready", nil)
	return err
}

// Stats gives the counters and gauges whose whole name matches the pattern, in
// RE2's syntax; "" gives all. Histograms and texts are left out.
func (a Admin) Stats(ctx context.Context, pattern string) (map[string]int64, error) {
	query := url.Values{"format": {"json"}}
	if pattern != "" {
		query.Set("filter", "^(?:"+pattern+")$")
	}
	body, err := a.call(ctx, http.MethodGet, "/stats", query)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Stats []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the statistics of Envoy cannot be read: %w", err)
	}
	stats := make(map[string]int64, len(answer.Stats))
	for _, stat := range answer.Stats {
		// A text has quotes and a histogram no value: neither is a number.
		if value, err := strconv.ParseInt(string(stat.Value), 10, 64); err == nil {
			stats[stat.Name] = value
		}
	}
	return stats, nil
}

// Prometheus gives all statistics in Prometheus' text format.
func (a Admin) Prometheus(ctx context.Context) ([]byte, error) {
	return a.call(ctx, http.MethodGet, "/stats/prometheus", nil)
}

// Drain makes every listener refuse new connections from now on. Running requests
// go on to their end, and their answers tell the client to open a new connection
// for the next one (connection: close, GOAWAY), so that busy kept connections run
// dry too; for that last part Envoy must run with --drain-strategy immediate, as
// Supervisor has it.
func (a Admin) Drain(ctx context.Context) error {
	_, err := a.call(ctx, http.MethodPost, "/drain_listeners", nil)
	return err
}

// ConfigDump gives the configuration Envoy runs with, as JSON. A resource such as
// "dynamic_listeners" and masks such as "error_state" narrow it; "" and none give
// all. Envoy hides secrets in it.
func (a Admin) ConfigDump(ctx context.Context, resource string, masks ...string) ([]byte, error) {
	query := url.Values{}
	if resource != "" {
		query.Set("resource", resource)
	}
	if len(masks) > 0 {
		query.Set("mask", strings.Join(masks, ","))
	}
	return a.call(ctx, http.MethodGet, "/config_dump", query)
}

// Listeners gives the addresses Envoy listens on, by listener name: "host:port", or
// the path of a Unix socket. A port that was configured as 0 is the real one here.
func (a Admin) Listeners(ctx context.Context) (map[string]string, error) {
	body, err := a.call(ctx, http.MethodGet, "/listeners", url.Values{"format": {"json"}})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Listeners []struct {
			Name    string `json:"name"`
			Address struct {
				Socket *struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
				Pipe struct {
					Path string `json:"path"`
				} `json:"pipe"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the listeners of Envoy cannot be read: %w", err)
	}
	addresses := make(map[string]string, len(answer.Listeners))
	for _, listener := range answer.Listeners {
		addresses[listener.Name] = listener.Address.Pipe.Path
		if socket := listener.Address.Socket; socket != nil {
			addresses[listener.Name] = net.JoinHostPort(socket.Address, strconv.Itoa(socket.Port))
		}
	}
	return addresses, nil
}

// ServerInfo is what an Envoy tells about itself.
type ServerInfo struct {
	Version string        // "1.40.0"
	State   string        // PRE_INITIALIZING, INITIALIZING, LIVE or DRAINING
	Uptime  time.Duration // in whole seconds
}

// ServerInfo asks an Envoy about itself.
func (a Admin) ServerInfo(ctx context.Context) (ServerInfo, error) {
	body, err := a.call(ctx, http.MethodGet, "/server_info", nil)
	if err != nil {
		return ServerInfo{}, err
	}
	var answer struct {
		Version string `json:"version"`
		State   string `json:"state"`
		Uptime  string `json:"uptime_current_epoch"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return ServerInfo{}, fmt.Errorf("the server info of Envoy cannot be read: %w", err)
	}
	info := ServerInfo{Version: answer.Version, State: answer.State}
	if parts := strings.Split(answer.Version, "/"); len(parts) > 1 { // commit/version/…
		info.Version = parts[1]
	}
	info.Uptime, err = time.ParseDuration(answer.Uptime)
	return info, err
}

// errNotReady is Envoy's own "not yet", with its state.
var errNotReady = errors.New("Envoy is not ready") //nolint:staticcheck // Envoy is a name

// call makes one request and gives the body of a 200.
func (a Admin) call(ctx context.Context, method, path string, query url.Values) ([]byte, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, adminTimeout)
		defer cancel()
	}
	address := url.URL{Scheme: "http", Host: "envoy", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, address.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := a.client().Do(request)
	if err != nil {
		return nil, fmt.Errorf("the admin interface of Envoy does not answer: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, adminAnswer))
	if err != nil {
		return nil, fmt.Errorf("the admin interface of Envoy broke off: %w", err)
	}
	switch {
	case response.StatusCode == http.StatusOK:
		return body, nil
	case response.StatusCode == http.StatusServiceUnavailable && path == "/ready":
		return nil, fmt.Errorf("%w: %s", errNotReady, strings.TrimSpace(string(body)))
	default:
		return nil, fmt.Errorf("the admin interface of Envoy answered %d to %s: %s", response.StatusCode, path, tidy(string(body)))
	}
}

func (a Admin) client() *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", a.Socket)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
}
