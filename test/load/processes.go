package load

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ticks is how many units of processor time /proc counts in a second. The kernel
// gives 100 to user space on every architecture Go runs on.
const ticks = 100

// Processes reads /proc, or a folder that looks like it.
type Processes struct{ Root string }

// Memory of a process, in bytes.
type Memory struct {
	Resident int64 // now (VmRSS)
	Peak     int64 // since its start (VmHWM)
}

// Stat is what /proc/<pid>/stat says and the bench needs.
type Stat struct {
	PID    int
	Name   string
	Parent int
	CPU    time.Duration // user and system time of all threads, ended ones too
}

// ParseStat reads the text of /proc/<pid>/stat. The name stands in parentheses and
// may itself hold spaces and parentheses.
func ParseStat(text []byte) (Stat, error) {
	open, shut := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || shut < open {
		return Stat{}, fmt.Errorf("no process name in %q", text)
	}
	fields := strings.Fields(string(text[shut+1:]))
	if len(fields) < 13 { // state is the first of them, stime the thirteenth
		return Stat{}, fmt.Errorf("only %d fields after the process name in %q", len(fields), text)
	}
	var numbers [4]int64
	for i, field := range []string{strings.TrimSpace(string(text[:open])), fields[1], fields[11], fields[12]} {
		number, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return Stat{}, fmt.Errorf("in %q: %w", text, err)
		}
		numbers[i] = number
	}
	return Stat{
		PID: int(numbers[0]), Name: string(text[open+1 : shut]), Parent: int(numbers[1]),
		CPU: time.Duration(numbers[2]+numbers[3]) * time.Second / ticks,
	}, nil
}

// Stat reads one process. Its error is fs.ErrNotExist if there is none.
func (p Processes) Stat(pid int) (Stat, error) {
	text, err := os.ReadFile(p.file(pid, "stat"))
	if err != nil {
		return Stat{}, err
	}
	return ParseStat(text)
}

// CPU is the processor time a set of processes has used together.
func (p Processes) CPU(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		stat, err := p.Stat(pid)
		if err != nil {
			return 0, err
		}
		sum += stat.CPU
	}
	return sum, nil
}

// Memory is what a set of processes holds together. Pages they share are counted
// in each of them.
func (p Processes) Memory(pids []int) (Memory, error) {
	var sum Memory
	for _, pid := range pids {
		text, err := os.ReadFile(p.file(pid, "status"))
		if err != nil {
			return Memory{}, err
		}
		one, err := ParseMemory(text)
		if err != nil {
			return Memory{}, fmt.Errorf("process %d: %w", pid, err)
		}
		sum.Resident += one.Resident
		sum.Peak += one.Peak
	}
	return sum, nil
}

// ParseMemory reads the text of /proc/<pid>/status.
func ParseMemory(text []byte) (Memory, error) {
	var memory Memory
	wanted := map[string]*int64{"VmRSS": &memory.Resident, "VmHWM": &memory.Peak}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		into, ok := wanted[name]
		if !ok {
			continue
		}
		kibibytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("%s: %w", name, err)
		}
		*into = kibibytes << 10
		delete(wanted, name)
	}
	if len(wanted) > 0 {
		return Memory{}, fmt.Errorf("no memory is stated: the process has ended, or is the kernel's")
	}
	return memory, nil
}

// Descendants are the children of a process, their children, and so on, by number.
func (p Processes) Descendants(pid int) ([]int, error) {
	entries, err := os.ReadDir(p.root())
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, entry := range entries {
		number, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if stat, err := p.Stat(number); err == nil { // one that ended meanwhile is no child
			children[stat.Parent] = append(children[stat.Parent], number)
		}
	}
	var found []int
	for waiting := []int{pid}; len(waiting) > 0; waiting = waiting[1:] {
		found = append(found, children[waiting[0]]...)
		waiting = append(waiting, children[waiting[0]]...)
	}
	slices.Sort(found)
	return found, nil
}

func (p Processes) root() string {
	if p.Root == "" {
		return "/proc"
	}
	return p.Root
}

func (p Processes) file(pid int, name string) string {
	return filepath.Join(p.root(), strconv.Itoa(pid), name)
}
