package stage

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Greeting is what happens to a connection before a byte of it is read.
type Greeting int

// The greetings.
const (
	Welcome   Greeting = iota // serve it
	HangUp                    // close it (FIN)
	SlamDoor                  // reset it (RST)
	Babble                    // send bytes that are not HTTP, then close it
	SayNought                 // leave it open, read nothing, answer nothing
)

const handshakeLimit = 10 * time.Second

// Nonsense is what a broken peer might send: not HTTP, not TLS.
var Nonsense = []byte("\x00\x01\x02 this is not the protocol you are looking for \xff\xfe\r\n\r\n")

// receive greets one connection. Errors end the connection and nothing else.
func (d *door) receive(w *wire, greeting Greeting) {
	switch greeting {
	case HangUp:
		_ = w.Close()
	case SlamDoor:
		w.reset()
	case Babble:
		_, _ = w.Write(Nonsense)
		_ = w.Close()
	case SayNought: // shut and drop close it
	case Welcome:
		c, err := d.shakeHands(w)
		if err != nil {
			_ = w.Close()
			return
		}
		select {
		case d.ready <- c:
		case <-d.done:
			_ = w.Close()
		}
	}
}

// shakeHands gives the connection the HTTP server reads: a *tls.Conn for HTTP/2,
// because net/http asks for that type, and one that listens to heads otherwise.
func (d *door) shakeHands(w *wire) (net.Conn, error) {
	if d.tls == nil {
		return &ear{Conn: w, wire: w}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeLimit)
	defer cancel()
	c := tls.Server(w, d.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		return c, nil
	}
	return &ear{Conn: c, wire: w}, nil
}
