package load

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startUpstream gives the chat URL of a mock provider that ends with the test.
func startUpstream(t *testing.T, u *Upstream) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- u.Serve(listener) }()
	t.Cleanup(func() {
		u.Close()
		u.Close()
		assert.NoError(t, <-served)
	})
	return "http://" + listener.Addr().String() + "/v1/chat/completions"
}
