package lifecycle_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) {
	code := m.Run()
	gate.RemoveBinary()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
