package envoy_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
)

func splitPort(hostport string) (string, int, error) {
	host, text, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.Atoi(text)
	return host, port, err
}

func TestAnEnvoyStartsAnswersAndStops(t *testing.T) {
	r := newRig(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	r.start(ctx, t)
	starting := r.await(t, envoy.Starting)
	ready := r.await(t, envoy.Ready)
	assert.Equal(t, starting.PID, ready.PID)
	assert.Equal(t, r.PID(), ready.PID)

	response, err := client(t).Get(r.url(t, "/direct"))
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, "hello", string(body))

	info, err := r.admin.ServerInfo(t.Context())
	require.NoError(t, err)
	assert.Equal(t, envoy.Version, info.Version)
	assert.Equal(t, "LIVE", info.State)
	for _, name := range []string{"admin.sock", "envoy.json"} {
		file, err := os.Stat(filepath.Join(r.folder, name))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), file.Mode().Perm(), name)
	}
	group, err := syscall.Getpgid(ready.PID)
	require.NoError(t, err)
	assert.Equal(t, ready.PID, group, "a group of its own, out of reach of Ctrl-C")

	cancel()
	require.NoError(t, receive(t, r.result))
	assert.Equal(t, []envoy.State{envoy.Draining, envoy.Stopped}, rest(r.events))
	assert.Zero(t, r.PID())
	assert.Zero(t, r.Restarts())
	assert.ErrorIs(t, syscall.Kill(ready.PID, 0), syscall.ESRCH)
}

// rest gives the states still in the channel.
func rest(events chan envoy.Event) (states []envoy.State) {
	for {
		select {
		case event := <-events:
			states = append(states, event.State)
		default:
			return states
		}
	}
}

func TestACrashedEnvoyIsStartedAgain(t *testing.T) {
	var log lockedText
	r := newRig(t, func(s *envoy.SupervisorSettings) {
		s.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	r.start(t.Context(), t)
	first := r.await(t, envoy.Ready)
	require.NoError(t, syscall.Kill(first.PID, syscall.SIGKILL))
	crash := r.await(t, envoy.Crashed)
	assert.Equal(t, first.PID, crash.PID)
	assert.Equal(t, "signal: killed", crash.Reason)
	assert.Equal(t, 100*time.Millisecond, crash.Wait)

	second := r.await(t, envoy.Ready)
	assert.NotEqual(t, first.PID, second.PID)
	assert.Equal(t, 1, r.Restarts())
	require.NoError(t, syscall.Kill(second.PID, syscall.SIGTERM))
	crash = r.await(t, envoy.Crashed)
	assert.Equal(t, "exit status 0", crash.Reason, "an Envoy that somebody else ends is started again too")
	assert.Equal(t, 200*time.Millisecond, crash.Wait, "the wait grows")
	r.await(t, envoy.Ready)
	response, err := client(t).Get(r.url(t, "/direct"))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.Equal(t, 2, strings.Count(log.String(), "Envoy ended by itself and is started again"))
}

func TestAStopLetsRunningStreamsEnd(t *testing.T) {
	r := newRig(t, nil)
	r.start(t.Context(), t)
	r.await(t, envoy.Ready)
	address := r.url(t, "")
	kept := client(t)
	get := func() (*http.Response, error) {
		response, err := kept.Get(address + "/direct")
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		return response, err
	}
	before, err := get() // leaves a kept connection
	require.NoError(t, err)
	assert.False(t, before.Close)
	body := r.stream(t)

	r.Stop()
	r.Stop()
	r.await(t, envoy.Draining)
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, wait, tick, "new connections are refused")
	during, err := get()
	require.NoError(t, err, "a kept connection is served once more")
	assert.True(t, during.Close, "and told to close")
	assert.Never(t, func() bool { return len(r.result) > 0 }, 500*time.Millisecond, tick,
		"the stream still runs, so the supervisor does")

	r.finish()
	tail, err := io.ReadAll(body)
	require.NoError(t, err)
	assert.Equal(t, "last\n", string(tail))
	require.NoError(t, receive(t, r.result))
	r.Stop()
	r.Kill()
}

// Clients may find the open door before the supervisor does.
func TestAStopBeforeReadinessWasSeenLetsRunningStreamsEnd(t *testing.T) {
	opened := make(chan struct{})
	r := newRig(t, func(s *envoy.SupervisorSettings) {
		s.OnState = func(event envoy.Event) {
			if event.State == envoy.Starting {
				<-opened // the supervisor does not look before
			}
		}
	})
	r.start(t.Context(), t)
	require.Eventually(t, func() bool { return r.admin.Ready(t.Context()) == nil }, wait, tick)
	body := r.stream(t)
	r.Stop()
	close(opened)
	assert.Never(t, func() bool { return len(r.result) > 0 }, 300*time.Millisecond, tick, "the stream still runs")
	r.finish()
	tail, err := io.ReadAll(body)
	require.NoError(t, err)
	assert.Equal(t, "last\n", string(tail))
	require.NoError(t, receive(t, r.result))
}

func TestAStopIsBounded(t *testing.T) {
	r := newRig(t, func(s *envoy.SupervisorSettings) { s.DrainTimeout = 400 * time.Millisecond })
	r.start(t.Context(), t)
	r.await(t, envoy.Ready)
	body := r.stream(t)

	began := time.Now()
	r.Stop()
	require.NoError(t, receive(t, r.result))
	assert.GreaterOrEqual(t, time.Since(began), 400*time.Millisecond)
	assert.Less(t, time.Since(began), 5*time.Second)
	_, err := io.ReadAll(body)
	assert.Error(t, err, "the client sees that its stream was cut")
}

func TestKillDoesNotWait(t *testing.T) {
	r := newRig(t, nil)
	r.start(t.Context(), t)
	r.await(t, envoy.Ready)
	r.stream(t)
	r.Stop()
	r.await(t, envoy.Draining)
	began := time.Now()
	r.Kill()
	r.Kill()
	require.NoError(t, receive(t, r.result))
	assert.Less(t, time.Since(began), 5*time.Second)
}

func TestAStopBeforeTheStartStartsNothing(t *testing.T) {
	r := newRig(t, nil)
	r.Stop()
	require.NoError(t, r.Run(t.Context()))
	assert.Equal(t, []envoy.State{envoy.Stopped}, rest(r.events))
	assert.ErrorContains(t, r.Run(t.Context()), "Run was called twice")
}

func TestAnEnvoyThatEndsWhileItDrainsIsNotStartedAgain(t *testing.T) {
	r := newRig(t, nil)
	r.start(t.Context(), t)
	ready := r.await(t, envoy.Ready)
	r.stream(t)
	r.Stop()
	r.await(t, envoy.Draining)
	require.NoError(t, syscall.Kill(ready.PID, syscall.SIGKILL))
	require.NoError(t, receive(t, r.result))
	assert.Equal(t, []envoy.State{envoy.Stopped}, rest(r.events))
}

func TestAStopBetweenTwoStartsStartsNoMore(t *testing.T) {
	r := newRig(t, nil)
	r.start(t.Context(), t)
	require.NoError(t, syscall.Kill(r.await(t, envoy.Ready).PID, syscall.SIGKILL))
	r.await(t, envoy.Crashed)
	r.Stop()
	require.NoError(t, receive(t, r.result))
	assert.Equal(t, []envoy.State{envoy.Stopped}, rest(r.events))
	assert.Zero(t, r.Restarts())
}

func TestAnEnvoyThatIsNotReadyIsStoppedAtOnce(t *testing.T) {
	r := newRig(t, func(s *envoy.SupervisorSettings) {
		settings := example
		settings.AdminSocket = s.Admin.Socket
		settings.XDSSocket = filepath.Join(s.Folder, "nobody.sock")
		var err error
		s.Bootstrap, err = envoy.Bootstrap(settings)
		require.NoError(t, err)
	})
	r.start(t.Context(), t)
	r.await(t, envoy.Starting)
	began := time.Now()
	r.Stop()
	require.NoError(t, receive(t, r.result))
	assert.Less(t, time.Since(began), 4*time.Second)
	assert.Equal(t, []envoy.State{envoy.Draining, envoy.Stopped}, rest(r.events))
}

func TestTheAdminSocketPath(t *testing.T) {
	t.Run("a stale socket is replaced", func(t *testing.T) {
		r := newRig(t, nil)
		listener, err := net.Listen("unix", r.admin.Socket)
		require.NoError(t, err)
		listener.(*net.UnixListener).SetUnlinkOnClose(false)
		require.NoError(t, listener.Close())
		require.FileExists(t, r.admin.Socket)
		r.start(t.Context(), t)
		r.await(t, envoy.Ready)
	})
	t.Run("a served socket is left alone", func(t *testing.T) {
		r := newRig(t, nil)
		listener, err := net.Listen("unix", r.admin.Socket)
		require.NoError(t, err)
		defer listener.Close()
		assert.ErrorContains(t, r.Run(t.Context()), "another process serves the admin socket of Envoy")
	})
	t.Run("a file is left alone", func(t *testing.T) {
		r := newRig(t, nil)
		require.NoError(t, os.WriteFile(r.admin.Socket, []byte("mine"), 0o600))
		require.ErrorContains(t, r.Run(t.Context()), "is in the way of the admin socket of Envoy")
		assert.FileExists(t, r.admin.Socket)
	})
}

func TestWhatCannotStartIsSaidInOneSentence(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for name, test := range map[string]struct {
		change func(*envoy.SupervisorSettings)
		want   string
	}{
		"no binary": {func(s *envoy.SupervisorSettings) { s.Binary = "/missing/envoy" }, "Envoy does not start: fork/exec /missing/envoy: no such file or directory"},
		"not a configuration": {func(s *envoy.SupervisorSettings) { s.Bootstrap = []byte(`{"admin": {]`) },
			"Envoy does not start: invalid JSON in envoy.config.bootstrap.v3.Bootstrap"},
		"a bad value": {func(s *envoy.SupervisorSettings) {
			s.Bootstrap = bootstrap(t, s.Admin.Socket, "127.0.0.1:70000", "127.0.0.1:1")
		},
			"Envoy does not start: StaticResources.Listeners[0].Address.SocketAddress.PortValue: value must be less than or equal to 65535"},
		"a taken port": {func(s *envoy.SupervisorSettings) {
			s.Bootstrap = bootstrap(t, s.Admin.Socket, taken.Addr().String(), "127.0.0.1:1")
		}, "Envoy does not start: cannot bind '" + taken.Addr().String() + "': Address already in use"},
		"no folder": {func(s *envoy.SupervisorSettings) { s.Folder = "/missing/folder" }, "the configuration of Envoy cannot be written"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, test.change)
			result := make(chan error, 1)
			go func() { result <- r.Run(t.Context()) }()
			err := receive(t, result)
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "\n")
			assert.Zero(t, r.PID())
		})
	}
}

func TestSettingsThatAreMissingAreNamed(t *testing.T) {
	full := envoy.SupervisorSettings{Binary: "b", Bootstrap: []byte("{}"), Folder: "f", Admin: envoy.Admin{Socket: "s"}, StatPrefix: "p"}
	_, err := envoy.NewSupervisor(full)
	require.NoError(t, err)
	for name, change := range map[string]func(*envoy.SupervisorSettings){
		"Binary":       func(s *envoy.SupervisorSettings) { s.Binary = "" },
		"Bootstrap":    func(s *envoy.SupervisorSettings) { s.Bootstrap = nil },
		"Folder":       func(s *envoy.SupervisorSettings) { s.Folder = "" },
		"Admin.Socket": func(s *envoy.SupervisorSettings) { s.Admin.Socket = "" },
		"StatPrefix":   func(s *envoy.SupervisorSettings) { s.StatPrefix = "" },
	} {
		settings := full
		change(&settings)
		_, err := envoy.NewSupervisor(settings)
		assert.ErrorContains(t, err, name)
	}
}

// The kernel kills Envoy with the thread that started it. Threads whose goroutine
// ends locked end too: many of those must not take Envoy with them.
func TestEndingThreadsDoNotEndEnvoy(t *testing.T) {
	r := newRig(t, nil)
	// Under load a goroutine often changes threads, which is what would hurt.
	load, unload := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for load.Err() == nil {
			}
		})
	}
	r.start(t.Context(), t)
	ready := r.await(t, envoy.Ready)
	unload()
	busy.Wait()
	for range 20 {
		var threads sync.WaitGroup
		meet := make(chan struct{})
		for range 50 {
			threads.Go(func() {
				runtime.LockOSThread() // and never unlocked: the thread ends here
				<-meet
			})
		}
		close(meet)
		threads.Wait()
	}
	require.NoError(t, r.admin.Ready(t.Context()))
	assert.Equal(t, ready.PID, r.PID())
	assert.Zero(t, r.Restarts())
	assert.Empty(t, rest(r.events))
}

// lockedText is a strings.Builder for several goroutines.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
