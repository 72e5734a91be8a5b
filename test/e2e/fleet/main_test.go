package fleet_test

import (
	"os"
	"testing"

	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) {
	code := m.Run()
	gate.RemoveBinary()
	os.Exit(code)
}
