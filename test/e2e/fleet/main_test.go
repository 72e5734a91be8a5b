package fleet_test

import (
	"os"
	"testing"

	"github.com/postern-proxy/postern/test/fake/aws"
	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) {
	code := m.Run()
	gate.RemoveBinary()
	aws.Stop()
	os.Exit(code)
}
