package envoy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

const (
	// readyPoll is how often a starting Envoy is asked whether it is ready.
	readyPoll = 25 * time.Millisecond
	// drainTime is Envoy's own --drain-time-s: when a changed listener cuts the
	// streams of the old one. It is longer than any request may take.
	drainTime = 24 * time.Hour
	// logFormat is shorter than Envoy's own: no thread, no source line.
	logFormat = "%Y-%m-%dT%T.%e%z %l %n: %v"
)

// life is how one Envoy fared.
type life struct {
	pid         int
	stopped     bool // because we asked for it
	unstartable bool // there was no process at all
	wasReady    bool
	readyFor    time.Duration
	reason      string // of its end
}

// live starts one Envoy and returns when it has ended.
func (s *Supervisor) live(ctx context.Context, config string) life {
	// Envoy binds over a socket file that is left, but a connection to the old one
	// must not be taken for the new Envoy.
	if err := os.Remove(s.set.Admin.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return life{unstartable: true, reason: err.Error()}
	}
	c, err := launch(s.command(config), s.set.Log)
	if err != nil {
		return life{unstartable: true, reason: err.Error()}
	}
	pid := c.PID()
	s.setPID(pid)
	defer s.setPID(0)
	s.tell(Event{State: Starting})

	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := s.awaitReady(watch)
	defer func() { cancel(); <-ready }()

	var since time.Time
	for became := ready; ; {
		select {
		case <-became:
			became, since = nil, time.Now()
			s.tell(Event{State: Ready})
		case <-s.stop:
			s.drain(ctx, c, !since.IsZero() || s.ready(ctx))
			return life{pid: pid, stopped: true}
		case <-c.Done():
			// Asked to stop and ended by itself in the same moment: no crash.
			l := life{pid: pid, stopped: closed(s.stop), wasReady: !since.IsZero(), reason: ending(c)}
			if l.wasReady {
				l.readyFor = time.Since(since)
			}
			return l
		}
	}
}

// ready asks once more: clients may have found an open door that nobody here has seen
// yet.
func (s *Supervisor) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, drainCall)
	defer cancel()
	return s.set.Admin.Ready(ctx) == nil
}

// awaitReady gives a channel that is closed when Envoy is ready or ctx ends.
func (s *Supervisor) awaitReady(ctx context.Context) <-chan struct{} {
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		ticker := time.NewTicker(readyPoll)
		defer ticker.Stop()
		for s.set.Admin.Ready(ctx) != nil {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return ready
}

// ending says in one line how a child ended.
func ending(c *running) string {
	state := c.State()
	if state == nil {
		return fmt.Sprint(c.Err()) // nobody could see how
	}
	if state.Exited() && !state.Success() {
		if why := reason(c.tail.String()); why != "" {
			return why
		}
	}
	return state.String() // "signal: killed", "exit status 1"
}

// prepare writes the configuration and makes sure that nobody serves the socket.
func (s *Supervisor) prepare(ctx context.Context) (config string, err error) {
	socket := s.set.Admin.Socket
	if info, err := os.Lstat(socket); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return "", fmt.Errorf("%s is in the way of the admin socket of Envoy", socket)
	}
	if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket); err == nil {
		_ = conn.Close()
		return "", fmt.Errorf("another process serves the admin socket of Envoy, %s", socket)
	}
	config = filepath.Join(s.set.Folder, "envoy.json")
	aside := config + ".new"
	if err := os.WriteFile(aside, s.set.Bootstrap, 0o600); err != nil {
		return "", fmt.Errorf("the configuration of Envoy cannot be written: %w", err)
	}
	return config, os.Rename(aside, config)
}

func (s *Supervisor) command(config string) *exec.Cmd {
	args := []string{
		"-c", config,
		"--disable-hot-restart", // two Envoys on one machine would share its memory file
		"--log-level", s.set.LogLevel,
		"--file-flush-interval-msec", "1000", // a failed request is in the log soon
		"--log-format", logFormat,
		"--drain-time-s", strconv.Itoa(int(drainTime.Seconds())),
		// While draining, the very next answer on a kept connection closes it; the
		// other strategy would do so at random over the whole drain time.
		"--drain-strategy", "immediate",
	}
	if s.set.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(s.set.Concurrency))
	}
	cmd := exec.Command(s.set.Binary, args...) //nolint:gosec,noctx // Find chose it; it is drained before it is killed
	cmd.Env = environment(os.Environ())
	return cmd
}
