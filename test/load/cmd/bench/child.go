package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopLimit is how long a child may take to end by itself.
const stopLimit = 10 * time.Second

// child is a started process.
type child struct {
	name  string
	cmd   *exec.Cmd
	said  *tail
	ended chan struct{} // closed once the process is gone
}

// start starts a command and keeps it for close. What it writes to its standard
// error, and to its standard output if nobody reads that, is kept for explain.
func (l *laboratory) start(name string, cmd *exec.Cmd) (*child, error) {
	c := &child{name: name, cmd: cmd, said: &tail{}, ended: make(chan struct{})}
	cmd.Stderr = c.said
	if cmd.Stdout == nil {
		cmd.Stdout = c.said
	}
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // how it ended shows in what it said
		close(c.ended)
	}()
	l.children = append(l.children, c)
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// until waits until the child does what is wanted of it.
func (c *child) until(ctx context.Context, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready(ctx) {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.ended:
			return fmt.Errorf("%s has ended", c.name)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", c.name, context.Cause(ctx))
		}
	}
}

// stop asks the child to end, and ends it if it does not.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(stopLimit):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// tail gives the last lines the child said.
func (c *child) tail() string { return c.said.String() }

// tail keeps the last 4 KiB of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - 4<<10; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

// firstLine gives the first line that is written to it, and drops the rest.
type firstLine struct {
	line chan string // with room for one
	text []byte
	done bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	if f.done {
		return len(p), nil
	}
	f.text = append(f.text, p...)
	if line, _, ok := bytes.Cut(f.text, []byte("\n")); ok {
		f.line <- string(line)
		f.done = true
	}
	return len(p), nil
}
