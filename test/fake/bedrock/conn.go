package bedrock

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
)

type connKey struct{}

func connOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}

// reset closes a connection with RST in place of FIN.
func reset(c net.Conn) {
	below := c
	if secure, ok := c.(*tls.Conn); ok {
		below = secure.NetConn()
	}
	if tcp, ok := below.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
		_ = tcp.Close() // not c: TLS would say goodbye first
		return
	}
	_ = c.Close()
}

// follow keeps the list of open connections.
func (s *Server) follow(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.open[c] = struct{}{}
		s.record.connected()
	case http.StateClosed, http.StateHijacked:
		delete(s.open, c)
	case http.StateActive, http.StateIdle:
	}
}

// Drop resets every connection there is, in use or not, and keeps listening.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		reset(c)
	}
}
