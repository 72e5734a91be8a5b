package main

import "syscall"

// childAttributes gives a child a process group of its own, so that Ctrl-C reaches
// the bench alone, and has it end when the thread that started it does.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
