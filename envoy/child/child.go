// Package child starts processes that do not outlive this one: Envoy, and Postern's own
// second process.
//
// The invariant: where the system can (Linux), the kernel kills a child when this process
// ends, however that happens. A child has a process group of its own, so that Ctrl-C in a
// terminal reaches this process alone, which then ends it as it should be ended.
//
// A Child may be used from several goroutines.
package child

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Child is one running process.
type Child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and its output is read
	err  error         // how it ended; valid after done
}

// Start starts a command and watches it until it ends. Its SysProcAttr and WaitDelay are
// set here. Errors are those of exec.Cmd.Start.
func Start(cmd *exec.Cmd) (*Child, error) {
	c := &Child{cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = attributes()
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

// PID is its process id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Done is closed when it has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// State says how it ended, and Err what exec.Cmd.Wait gave; to be asked after Done. State
// is nil where nobody could see.
func (c *Child) State() *os.ProcessState { return c.cmd.ProcessState }

// Err is what exec.Cmd.Wait gave; to be asked after Done.
func (c *Child) Err() error { return c.err }

// Signal does nothing to a child that has ended already.
func (c *Child) Signal(sig os.Signal) { _ = c.cmd.Process.Signal(sig) }

// End stops the child: SIGTERM, and SIGKILL when it takes longer than grace or when hurry
// is closed. It returns when the child is gone.
func (c *Child) End(grace time.Duration, hurry <-chan struct{}) {
	c.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
		return
	case <-timer.C:
	case <-hurry:
	}
	c.Signal(syscall.SIGKILL)
	<-c.done
}
