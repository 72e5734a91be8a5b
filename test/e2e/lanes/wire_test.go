package lanes_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/gate"
)

// announce opens a connection and sends the start of a request, with the key.
func announce(t *testing.T, g *gate.Gate, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", g.Address)
	require.NoError(t, err)
	_, err = io.WriteString(c, strings.Replace(text, "Host: x\r\n", "Host: x\r\nAuthorization: Bearer "+g.Key+"\r\n", 1))
	require.NoError(t, err)
	return c
}
