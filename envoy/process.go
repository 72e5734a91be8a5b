package envoy

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// tailSize is how much of Envoy's last output is kept to explain its end, in bytes.
const tailSize = 64 << 10

// killGrace is how long Envoy has to end after SIGTERM; it takes about 10 ms.
const killGrace = 5 * time.Second

// child is one running Envoy.
type child struct {
	cmd  *exec.Cmd
	tail *tail
	done chan struct{} // closed when it has ended and its output is read
	err  error         // how it ended; valid after done
}

// launch starts a command as a child of ours and watches it until it ends.
func launch(cmd *exec.Cmd, log io.Writer) (*child, error) {
	c := &child{cmd: cmd, tail: &tail{log: log}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = c.tail, c.tail
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = time.Second
	started := make(chan error, 1)
	go func() {
		// The kernel kills the child when the *thread* that started it ends, and Go
		// ends threads as it likes. Locked, this one waits here as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.err = cmd.Wait()
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// signal does nothing to a child that has ended already.
func (c *child) signal(sig os.Signal) { _ = c.cmd.Process.Signal(sig) }

// end stops the child: SIGTERM, and SIGKILL when it takes too long or when hurry is
// closed. It returns when the child is gone.
func (c *child) end(hurry <-chan struct{}) {
	c.signal(syscall.SIGTERM)
	timer := time.NewTimer(killGrace)
	defer timer.Stop()
	select {
	case <-c.done:
		return
	case <-timer.C:
	case <-hurry:
	}
	c.signal(syscall.SIGKILL)
	<-c.done
}

// tail passes Envoy's output on to a log and remembers the end of it.
type tail struct {
	log io.Writer // may be nil

	mu   sync.Mutex
	last []byte
}

// Write never fails: an error would close the pipe, and Envoy must not die of a
// full disk.
func (t *tail) Write(text []byte) (int, error) {
	if t.log != nil {
		_, _ = t.log.Write(text)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, text...)
	if over := len(t.last) - tailSize; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(text), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}
