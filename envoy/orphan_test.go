package envoy_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
)

// superviseVariable makes this test binary a Postern: "binary|folder".
const superviseVariable = "POSTERN_TEST_SUPERVISE"

// superviseForTest runs an Envoy, prints its process id when it is ready, and goes
// on until it is killed.
func superviseForTest() int {
	binary, folder, _ := strings.Cut(os.Getenv(superviseVariable), "|")
	config, err := os.ReadFile(filepath.Join(folder, "bootstrap.json"))
	if err != nil {
		return fail(err)
	}
	supervisor, err := envoy.NewSupervisor(envoy.SupervisorSettings{
		Binary: binary, Bootstrap: config, Folder: folder, StatPrefix: "door", Concurrency: 1,
		Admin: envoy.Admin{Socket: filepath.Join(folder, "admin.sock")},
		OnState: func(event envoy.Event) {
			if event.State == envoy.Ready {
				fmt.Println(event.PID)
			}
		},
	})
	if err != nil {
		return fail(err)
	}
	return fail(supervisor.Run(context.Background()))
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// startPostern starts this test binary as a Postern, and gives it with the process
// id of its Envoy.
func startPostern(t *testing.T) (postern *os.Process, pid int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	binary := envoytest.Binary(t)
	folder, cleanup, err := envoy.RuntimeFolder(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cleanup)
	config := bootstrap(t, filepath.Join(folder, "admin.sock"), "127.0.0.1:0", "127.0.0.1:1")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "bootstrap.json"), config, 0o600))

	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), superviseVariable+"="+binary+"|"+folder)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err = strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	t.Cleanup(func() {
		if !gone(pid) { // should the kernel not do it
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return cmd.Process, pid
}

func TestAKilledPosternLeavesNoEnvoy(t *testing.T) {
	postern, pid := startPostern(t)
	require.NoError(t, syscall.Kill(pid, 0), "Envoy runs")
	require.NoError(t, postern.Signal(syscall.SIGKILL))
	require.Eventually(t, func() bool { return gone(pid) }, wait, tick)
}

// gone tells whether a process has ended. In a container whose first process
// collects no orphans it stays as a zombie, which holds no port and no memory.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return os.IsNotExist(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}
