package envoy

import (
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/postern-proxy/postern/envoy/child"
)

// tailSize is how much of Envoy's last output is kept to explain its end, in bytes.
const tailSize = 64 << 10

// killGrace is how long Envoy has to end after SIGTERM; it takes about 10 ms.
const killGrace = 5 * time.Second

// running is one running Envoy.
type running struct {
	*child.Child

	tail *tail
}

// launch starts a command as a child of ours and watches it until it ends.
func launch(cmd *exec.Cmd, log io.Writer) (*running, error) {
	r := &running{tail: &tail{log: log}}
	cmd.Stdout, cmd.Stderr = r.tail, r.tail
	var err error
	r.Child, err = child.Start(cmd)
	return r, err
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
