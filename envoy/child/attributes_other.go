//go:build !linux

package child

import "syscall"

// attributes puts a child into a process group of its own, so that Ctrl-C in a
// terminal reaches Postern alone. Only Linux can also tie its life to ours.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
