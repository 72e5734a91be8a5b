package envoy

import "syscall"

// childAttributes puts Envoy into a process group of its own, so that Ctrl-C in a
// terminal reaches Postern alone, which then drains; and has the kernel kill Envoy
// when the thread that started it ends. That thread must therefore live as long as
// Envoy (see launch). A binary with file capabilities or the set-uid bit would lose
// this protection: the kernel clears the signal for those.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
