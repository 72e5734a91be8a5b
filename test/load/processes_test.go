package load

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const statLine = "%d (%s) S %d 4021 4021 0 -1 4194560 9421 0 12 0 250 130 7 3 20 0 9 0 88 1 2 3\n"

// folder makes something that looks like /proc.
func folder(t *testing.T, parents map[int]int) Processes {
	t.Helper()
	p := Processes{Root: t.TempDir()}
	for pid, parent := range parents {
		require.NoError(t, os.MkdirAll(filepath.Dir(p.file(pid, "stat")), 0o755))
		require.NoError(t, os.WriteFile(p.file(pid, "stat"), fmt.Appendf(nil, statLine, pid, "postern", parent), 0o600))
		status := "Name:\tpostern\nVmPeak:\t  900 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t9\n"
		require.NoError(t, os.WriteFile(p.file(pid, "status"), []byte(status), 0o600))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(p.Root, "sys"), 0o755))
	return p
}

func TestParseStat(t *testing.T) {
	for _, name := range []string{"postern", "a b", "main) R 1 (x", "()", ")"} {
		stat, err := ParseStat(fmt.Appendf(nil, statLine, 4021, name, 77))
		require.NoError(t, err, name)
		assert.Equal(t, Stat{PID: 4021, Name: name, Parent: 77, CPU: 3800 * time.Millisecond}, stat)
	}
	for _, text := range []string{"", "12 postern S 1", "12 (postern) S 1 2 3", "12 (postern) S x 4021 4021 0 -1 4194560 9421 0 12 0 250 130 7", "x (p) S 1 4021 4021 0 -1 4194560 9421 0 12 0 250 130 7"} {
		_, err := ParseStat([]byte(text))
		assert.Error(t, err, text)
	}
}

func TestParseMemory(t *testing.T) {
	_, err := ParseMemory([]byte("Name:\tkthreadd\nThreads:\t1\n"))
	require.ErrorContains(t, err, "no memory")
	_, err = ParseMemory([]byte("VmRSS:\tmuch kB\n"))
	require.ErrorContains(t, err, "VmRSS")
}

func TestSumsOverProcesses(t *testing.T) {
	p := folder(t, map[int]int{10: 1, 11: 10})
	used, err := p.CPU([]int{10, 11})
	require.NoError(t, err)
	assert.Equal(t, 7600*time.Millisecond, used)
	memory, err := p.Memory([]int{10, 11})
	require.NoError(t, err)
	assert.Equal(t, Memory{Resident: 2 << 20, Peak: 4 << 20}, memory)

	_, err = p.CPU([]int{10, 99})
	require.ErrorIs(t, err, fs.ErrNotExist, "a process that ended is an error, not 0")
	_, err = p.Memory([]int{99})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestDescendants(t *testing.T) {
	p := folder(t, map[int]int{1: 0, 10: 1, 13: 11, 11: 10, 12: 10, 20: 1, 21: 20})
	found, err := p.Descendants(10)
	require.NoError(t, err)
	assert.Equal(t, []int{11, 12, 13}, found)
	found, err = p.Descendants(13)
	require.NoError(t, err)
	assert.Empty(t, found)
}

func TestThisVeryProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc")
	}
	p := Processes{}
	stat, err := p.Stat(os.Getpid())
	require.NoError(t, err)
	assert.Equal(t, os.Getpid(), stat.PID)
	assert.Equal(t, os.Getppid(), stat.Parent)
	memory, err := p.Memory([]int{os.Getpid()})
	require.NoError(t, err)
	assert.Greater(t, memory.Resident, int64(1<<20))
	assert.GreaterOrEqual(t, memory.Peak, memory.Resident)
	require.Eventually(t, func() bool { // time passes in steps of 10 ms
		for range 1_000_000 {
			_ = strconv.Itoa(len(p.Root))
		}
		now, err := p.CPU([]int{os.Getpid()})
		return err == nil && now > stat.CPU
	}, 10*time.Second, time.Millisecond)
	family, err := p.Descendants(os.Getppid())
	require.NoError(t, err)
	assert.Contains(t, family, os.Getpid())
}

func TestMachine(t *testing.T) {
	p := Processes{Root: t.TempDir()}
	bare := ThisMachine(p, "1.2.3")
	assert.Equal(t, "unknown processor", bare.CPU)
	assert.Equal(t, "unknown kernel", bare.Kernel)
	require.NoError(t, os.MkdirAll(filepath.Join(p.Root, "sys/kernel"), 0o755))
	for name, text := range map[string]string{
		"cpuinfo":              "processor\t: 0\nmodel name\t: Quick 9000: fast\nprocessor\t: 1\nmodel name\t: Other\n",
		"meminfo":              "MemTotal:        4194304 kB\nMemFree: 1 kB\n",
		"sys/kernel/osrelease": "6.1.0\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(p.Root, name), []byte(text), 0o600))
	}
	m := ThisMachine(p, "1.2.3")
	assert.Equal(t, "Quick 9000: fast", m.CPU)
	assert.EqualValues(t, 4096, m.MemoryMiB)
	assert.Equal(t, "6.1.0", m.Kernel)
	assert.Contains(t, m.String(), "Quick 9000: fast")
	assert.Contains(t, m.String(), "4.0 GiB")
	assert.Contains(t, m.String(), "Envoy 1.2.3")
}
