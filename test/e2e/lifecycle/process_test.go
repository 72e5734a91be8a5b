package lifecycle_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/gate"
)

// process is a line of the system's table.
type process struct {
	pid, parent int
	name        string
	environment string // NUL between the variables; empty for a zombie
}

// processes is the table, without those that ended while it was read.
func processes(t *testing.T) []process {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	require.NotEmpty(t, folders, "these tests read /proc")
	var all []process
	for _, folder := range folders {
		stat, err := os.ReadFile(folder + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state parent …, and a name may hold anything.
		open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		fields := strings.Fields(string(stat[end+1:]))
		pid, _ := strconv.Atoi(filepath.Base(folder))
		parent, _ := strconv.Atoi(fields[1])
		environment, _ := os.ReadFile(folder + "/environ")
		all = append(all, process{pid: pid, parent: parent, name: string(stat[open+1 : end]), environment: string(environment)})
	}
	return all
}

// envoyOf is the process id of a gate's Envoy; 0 if it has none now.
func envoyOf(t *testing.T, g *gate.Gate) int {
	t.Helper()
	for _, p := range processes(t) {
		if p.parent == g.PID() && p.environment != "" {
			return p.pid
		}
	}
	return 0
}

// markOf is a variable by which a gate and all its children are known, whoever their
// parent is by then. Envoy inherits only what it needs, and LC_ is a family of that.
func markOf(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("LC_POSTERN_TEST_MARK=%s-%d", t.Name(), time.Now().UnixNano())
}

// marked are the processes that have the mark.
func marked(t *testing.T, mark string) []process {
	t.Helper()
	var all []process
	for _, p := range processes(t) {
		if strings.Contains("\x00"+p.environment, "\x00"+mark+"\x00") {
			all = append(all, p)
		}
	}
	return all
}

// requireNobody waits until no process has the mark.
func requireNobody(t *testing.T, mark string, within time.Duration) {
	t.Helper()
	require.Eventually(t, func() bool { return len(marked(t, mark)) == 0 }, within, glance, "processes are left")
}
