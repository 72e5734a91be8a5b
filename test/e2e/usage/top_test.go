package usage_test

import (
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/gate"
)

// screen is a command in a terminal of 80 × 24, and all that it wrote there.
type screen struct {
	cmd  *exec.Cmd
	done chan error

	mu   sync.Mutex
	text strings.Builder
}

func watch(t *testing.T, h *house) *screen {
	t.Helper()
	s := &screen{cmd: exec.Command(gate.Binary(t), "top", "--data", h.Data), done: make(chan error, 1)}
	s.cmd.Env = append(gate.Environment(t), "TERM=xterm")
	terminal, err := pty.StartWithSize(s.cmd, &pty.Winsize{Rows: 24, Cols: 80})
	require.NoError(t, err)
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(s, terminal) })
	go func() { s.done <- s.cmd.Wait() }()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = terminal.Close()
		reading.Wait()
	})
	return s
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// frames are the whole drawings so far: between one way home and the next.
func (s *screen) frames() []string {
	all := strings.Split(s.written(), "\x1b[H")
	if len(all) < 3 {
		return nil
	}
	return all[1 : len(all)-1]
}

var escapes = regexp.MustCompile(`\x1b\[[0-9?]*[A-Za-z]`)

// fits holds a drawing against the terminal's size.
func fits(t *testing.T, frame string) []string {
	t.Helper()
	lines := strings.Split(strings.ReplaceAll(escapes.ReplaceAllString(frame, ""), "\r", ""), "\n")
	assert.LessOrEqual(t, len(lines), 24)
	for _, line := range lines {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 80, line)
	}
	return lines
}

// row is the line of a table that begins with a word; empty if there is none.
func row(lines []string, name string) string {
	for _, line := range lines {
		if strings.HasPrefix(line, name+" ") {
			return line
		}
	}
	return ""
}

func TestTopInATerminal(t *testing.T) {
	routes := ""
	for i := range 30 { // more than a screen has room for
		routes += "\n  a-route-with-a-rather-long-name-" + strings.Repeat("x", i) + ": {route: [[{provider: one}]]}"
	}
	h := open(t, "metrics: {tenants: 1}")
	h.Write(t, strings.Replace(h.config, "\nprices:", routes+"\nprices:", 1))
	require.Eventually(t, func() bool {
		response, _ := h.Chat(t.Context(), t, "a-route-with-a-rather-long-name-")
		return response.StatusCode == http.StatusOK
	}, 20*time.Second, 50*time.Millisecond)
	for i := range 30 {
		h.Chat(t.Context(), t, "a-route-with-a-rather-long-name-"+strings.Repeat("x", i))
	}
	for range 20 {
		h.Chat(t.Context(), t, "plain")
	}
	s := watch(t, h)
	var before []string
	require.Eventually(t, func() bool {
		for _, frame := range s.frames() {
			before = fits(t, frame)
			if strings.Contains(row(before, "plain"), "ms") {
				return true
			}
		}
		return false
	}, 20*time.Second, 50*time.Millisecond, "%q", s.written())
	assert.Regexp(t, `^postern  \d\d:\d\d:\d\d  config [0-9a-f]{12}  in flight \d+  last \d+s`, before[0])
	assert.Regexp(t, `^ROUTE +req/s +p50 +p95 +tok/s +USD/h +err +%$`, row(before, "ROUTE"))
	assert.Regexp(t, `^PROVIDER +att/s +p50`, row(before, "PROVIDER"))
	assert.Regexp(t, `^one +[\d.<]+ +[\d.]+ms`, row(before, "one"))
	assert.NotEmpty(t, row(before, "total"))
	assert.Regexp(t, `\n… and \d+ more\n`, strings.Join(before, "\n"), "what has no room is said to be there")

	for range 60 {
		h.Chat(t.Context(), t, "plain")
	}
	require.Eventually(t, func() bool {
		frames := s.frames()
		now := fits(t, frames[len(frames)-1])
		return row(now, "plain") != row(before, "plain") && row(now, "total") != row(before, "total")
	}, 20*time.Second, 50*time.Millisecond, "the numbers change")

	once, err := exec.Command(gate.Binary(t), "top", "--data", h.Data, "--once").Output()
	require.NoError(t, err)
	assert.NotContains(t, string(once), "\x1b")
	assert.NotEmpty(t, row(fits(t, string(once)), "plain"), "with room for the prompt behind it")
	piped, err := exec.Command(gate.Binary(t), "top", "--data", h.Data).Output()
	require.NoError(t, err, "where nobody watches it ends by itself")
	assert.NotContains(t, string(piped), "\x1b")

	require.NoError(t, s.cmd.Process.Signal(syscall.SIGINT))
	select {
	case err := <-s.done:
		require.NoError(t, err, "a stop is no failure")
	case <-time.After(10 * time.Second):
		t.Fatal("top does not stop")
	}
	require.Eventually(t, func() bool { return strings.HasSuffix(s.written(), "\x1b[?25h\x1b[?1049l") },
		5*time.Second, 10*time.Millisecond, "the cursor and the screen are given back")
	assert.True(t, strings.HasPrefix(s.written(), "\x1b[?1049h\x1b[?25l"))
}

func TestTopWithoutAGate(t *testing.T) {
	for _, more := range [][]string{nil, {"--once"}} {
		cmd := exec.Command(gate.Binary(t), append([]string{"top", "--data", t.TempDir()}, more...)...)
		printed, err := cmd.CombinedOutput()
		require.Error(t, err)
		assert.Equal(t, 1, strings.Count(string(printed), "\n"), "%q", printed)
		assert.Contains(t, string(printed), "no postern runs with the data folder")
		assert.NotContains(t, string(printed), "\x1b")
	}
}
