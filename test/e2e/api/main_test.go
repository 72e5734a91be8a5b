package api_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) {
	gate.Main(func() int {
		code := m.Run()
		if !whole.end() && code == 0 {
			code = 1
		}
		return code
	})
}

// whole is the run of all tests of the package.
var whole = &span{}

// span is a testing.TB for what outlives one test. What fails after the last test
// fails the run. Methods that nothing here calls are missing on purpose.
type span struct {
	testing.TB

	mu      sync.Mutex
	cleanup []func()
	failed  bool
}

func (*span) Helper()                  {}
func (*span) Name() string             { return "the whole run" }
func (*span) Context() context.Context { return context.Background() }

func (s *span) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanup = append(s.cleanup, f)
}

func (s *span) TempDir() string {
	folder, err := os.MkdirTemp("", "postern-api-")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

func (s *span) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
	s.printf(format, args...)
}

func (s *span) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *span) Logf(format string, args ...any) { s.printf(format, args...) }

func (*span) printf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (s *span) Fatal(args ...any) { s.Fatalf("%s", fmt.Sprint(args...)) }

// Fatalf ends the goroutine, as testing's own does: the test that runs in it fails.
func (s *span) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	runtime.Goexit()
}

// end undoes everything, the last first, and says whether all was well.
func (s *span) end() bool {
	for len(s.cleanup) > 0 {
		last := s.cleanup[len(s.cleanup)-1]
		s.cleanup = s.cleanup[:len(s.cleanup)-1]
		last()
	}
	return !s.failed
}
