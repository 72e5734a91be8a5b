package child

import "syscall"

// attributes puts a child into a process group of its own, so that Ctrl-C in a
// terminal reaches Postern alone, which then drains; and has the kernel kill it
// when the thread that started it ends. That thread must therefore live as long as
// the child (see Start). A binary with file capabilities or the set-uid bit would lose
// this protection: the kernel clears the signal for those.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
