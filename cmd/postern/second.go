package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy/child"
)

// second is the gate's own replica of the service that reads bodies: a process of its
// own, because what ends a process (no memory, a fault of the runtime) would end two
// services in it as well. It is started again when it ends, and ends with the gate.
type second struct {
	pid      atomic.Int64 // 0: it does not run
	restarts atomic.Int64
}

const (
	secondFirstWait = 100 * time.Millisecond
	secondLastWait  = 5 * time.Second
	// secondProven is how long it must have run for its end to be a new trouble.
	secondProven = 30 * time.Second
	// secondGrace is longer than its own drain.
	secondGrace = processDrain + 2*time.Second
)

// secondSocket is where it listens.
func secondSocket(folder string) string { return filepath.Join(folder, "second.sock") }

// keepSecond runs the second process until ctx ends.
func (g *gate) keepSecond(ctx context.Context) error {
	wait := secondFirstWait
	for {
		began := time.Now()
		reason := g.runSecond(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was asked to end
		}
		if time.Since(began) > secondProven {
			wait = secondFirstWait
		}
		g.log.Warn("the second process of the service that reads bodies ended and is started again", "reason", reason, "wait", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, secondLastWait)
		g.second.restarts.Add(1)
	}
}

// runSecond runs it once, and says how it ended.
func (g *gate) runSecond(ctx context.Context) error {
	self, err := itself()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "extproc", "--data", g.data, "--socket", secondSocket(g.sockets.folder), "--report") //nolint:gosec,noctx // ourselves; it is ended below
	cmd.Env = secondEnvironment(os.Environ())
	cmd.Stderr = os.Stderr
	reports, out := io.Pipe()
	cmd.Stdout = out
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		g.readStages(reports)
	}()
	defer func() { _ = out.Close(); <-reading }()
	c, err := child.Start(cmd)
	if err != nil {
		return err
	}
	g.second.pid.Store(int64(c.PID()))
	defer g.second.pid.Store(0)
	select {
	case <-c.Done():
		return errors.New(c.State().String())
	case <-ctx.Done():
		c.End(secondGrace, nil)
		return nil
	}
}

// itself is this very program. Where another version has taken its place on the disk,
// that is what the system still has of it (Linux).
func itself() (string, error) {
	const running = "/proc/self/exe"
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	now, errNow := os.Stat(path)
	own, errOwn := os.Stat(running)
	if errOwn == nil && (errNow != nil || !os.SameFile(now, own)) {
		return running, nil //nolint:nilerr // that is why
	}
	return path, nil
}

// readStages tells the metrics what stages took there.
func (g *gate) readStages(from io.Reader) {
	for lines := bufio.NewScanner(from); lines.Scan(); {
		var stage, outcome string
		var took time.Duration
		if _, err := fmt.Sscanf(lines.Text(), "%s %s %d", &stage, &outcome, &took); err == nil {
			g.meters.metrics.Stage(stage, outcome, took)
		}
	}
	_, _ = io.Copy(io.Discard, from) // a line that is too long stops nobody
}

// secondInherits are the variables that it has of ours; none is a provider's key.
var secondInherits = []string{"PATH", "HOME", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"}

func secondEnvironment(own []string) []string {
	return slices.DeleteFunc(slices.Clone(own), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return !slices.Contains(secondInherits, name) && !strings.HasPrefix(name, "GO") // the runtime's: GOGC, GODEBUG
	})
}

// secondReport is what a gate says of its second process.
type secondReport struct {
	PID      int64 `json:"pid"` // 0: it is being started
	Restarts int64 `json:"restarts"`
}

// reportSecond is nil where there is none.
func (g *gate) reportSecond() *secondReport {
	if !slices.Contains(g.sockets.replicas, secondSocket(g.sockets.folder)) {
		return nil
	}
	return &secondReport{g.second.pid.Load(), g.second.restarts.Load()}
}

func printSecond(out io.Writer, r *secondReport) {
	switch {
	case r == nil:
	case r.PID == 0:
		fmt.Fprintf(out, "second process is being started, for the %d. time\n", r.Restarts+1)
	case r.Restarts > 0:
		fmt.Fprintf(out, "second process started again %d times\n", r.Restarts)
	}
}

// handedMost is how many versions replicas may ask for: as many as plans are remembered.
const handedMost = 128

// handed are the versions that replicas may ask for.
type handed struct {
	mu  sync.Mutex
	all []*config.Config // the newest last
}

func (h *handed) add(cfg *config.Config) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = slices.DeleteFunc(h.all, func(c *config.Config) bool { return c.Version == cfg.Version })
	h.all = append(h.all, cfg)
	h.all = slices.Delete(h.all, 0, max(0, len(h.all)-handedMost))
}

func (h *handed) get(version string) *config.Config {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, cfg := range h.all {
		if cfg.Version == version {
			return cfg
		}
	}
	return nil
}

// serveVersion hands a version to a replica: the one of the path, or the one in use.
func (g *gate) serveVersion(w http.ResponseWriter, r *http.Request) {
	cfg := g.config.Load()
	if version := r.PathValue("version"); version != "" {
		cfg = g.handed.get(version)
	}
	w.Header().Set("Content-Type", "application/json")
	if cfg == nil {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "{}")
		return
	}
	text, err := cfg.Share()
	if err != nil {
		http.Error(w, "{}", http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(text)
}
