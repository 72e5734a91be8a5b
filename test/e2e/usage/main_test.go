package usage_test

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
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
