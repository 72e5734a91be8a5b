package load

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Machine is where a run took place.
type Machine struct {
	CPU       string `json:"cpu"`
	Cores     int    `json:"cores"`
	MemoryMiB int64  `json:"memory_mib"`
	Kernel    string `json:"kernel"`
	System    string `json:"system"` // linux/amd64
	Go        string `json:"go"`
	Envoy     string `json:"envoy"`
}

// ThisMachine describes the machine by its /proc; what cannot be read there is
// said to be unknown.
func ThisMachine(p Processes, envoyVersion string) Machine {
	m := Machine{
		CPU: "unknown processor", Cores: runtime.NumCPU(), Kernel: "unknown kernel",
		System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Envoy: envoyVersion,
	}
	if text, err := os.ReadFile(filepath.Join(p.root(), "cpuinfo")); err == nil {
		if model := field(text, "model name"); model != "" {
			m.CPU = model
		}
	}
	if text, err := os.ReadFile(filepath.Join(p.root(), "meminfo")); err == nil {
		kibibytes, _ := strconv.ParseInt(strings.TrimSuffix(field(text, "MemTotal"), " kB"), 10, 64)
		m.MemoryMiB = kibibytes >> 10
	}
	if text, err := os.ReadFile(filepath.Join(p.root(), "sys/kernel/osrelease")); err == nil {
		m.Kernel = string(bytes.TrimSpace(text))
	}
	return m
}

// String is one sentence without its full stop.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.1f GiB memory, kernel %s, %s, %s, Envoy %s",
		m.CPU, m.Cores, float64(m.MemoryMiB)/1024, m.Kernel, m.System, m.Go, m.Envoy)
}

// field is the value of the first "name : value" line.
func field(text []byte, name string) string {
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
