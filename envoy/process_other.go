//go:build !linux

package envoy

import "syscall"

// childAttributes puts Envoy into a process group of its own, so that Ctrl-C in a
// terminal reaches Postern alone. Only Linux can also tie Envoy's life to ours.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
