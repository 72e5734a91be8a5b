package main

import (
	"os"
	"runtime/debug"

	"github.com/postern-proxy/postern/config"
)

const (
	// gcPercent lets garbage grow to four times what lives: between large bodies
	// little lives, so the default collects often for nothing.
	gcPercent = 400
	// otherMemory is what the process needs besides bodies: versions, sockets, stacks.
	otherMemory = 64 * int64(config.MiB)
)

// boundMemory sets the garbage collector's pace, with a limit that the bodies which
// are held at one time cannot pass. The variables GOGC and GOMEMLIMIT go before it.
func boundMemory(cfg *config.Config) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(cfg.Extproc.Memory) + otherMemory)
	}
}
