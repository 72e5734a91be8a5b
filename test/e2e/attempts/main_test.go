package attempts_test

import (
	"testing"

	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) { gate.Main(m.Run) }
