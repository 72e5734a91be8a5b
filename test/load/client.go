package load

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Ask is a request, and what makes its answer whole. Anything but a 200 with that
// answer is an error.
type Ask struct {
	URL     string            // http only
	Header  map[string]string // beside host, content-type and what tells the body's end
	Body    []byte            // sent by POST
	Chunked bool              // the body goes as one chunk, and its length is not said before
	Events  int               // of the streamed answer, [DONE] last; 0: the answer is not a stream
	Bytes   int               // least length of the answer's body
}

// bytes is the request as it goes over the wire, and where to.
func (a Ask) bytes() (address string, request []byte, err error) {
	target, err := url.Parse(a.URL)
	if err != nil {
		return "", nil, err
	}
	if target.Scheme != "http" || target.Port() == "" {
		return "", nil, fmt.Errorf("%s: an http URL with a port is needed", a.URL)
	}
	var head strings.Builder // and the body behind it
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nhost: %s\r\ncontent-type: application/json\r\n", target.RequestURI(), target.Host)
	for _, name := range slices.Sorted(maps.Keys(a.Header)) {
		fmt.Fprintf(&head, "%s: %s\r\n", name, a.Header[name])
	}
	if a.Chunked {
		fmt.Fprintf(&head, "transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(a.Body), a.Body)
	} else {
		fmt.Fprintf(&head, "content-length: %d\r\n\r\n%s", len(a.Body), a.Body)
	}
	return target.Host, []byte(head.String()), nil
}

// Once asks once, on a connection of its own.
func (a Ask) Once(ctx context.Context) error {
	c, err := dial(ctx, a)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	if err := c.conn.SetDeadline(time.Now().Add(grace)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })()
	return because(ctx, c.once())
}

// caller is one connection, on which one request follows the other.
type caller struct {
	ask     Ask
	request []byte
	conn    net.Conn
	reader  *bufio.Reader
	total   []time.Duration // from the first byte sent to the last received
	first   []time.Duration // to the first byte of the body
}

func dial(ctx context.Context, ask Ask) (*caller, error) {
	address, request, err := ask.bytes()
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &caller{ask: ask, request: request, conn: conn, reader: bufio.NewReaderSize(conn, 64<<10)}, nil
}

// once sends one request and reads its whole answer.
func (c *caller) once() error {
	start := time.Now()
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	answer, err := readHead(c.reader)
	if err != nil {
		return fmt.Errorf("no answer: %w", noEOF(err))
	}
	var first time.Duration
	var events Events
	size := 0
	err = answer.body(c.reader, func(piece []byte) {
		if first == 0 {
			first = time.Since(start)
		}
		size += len(piece)
		if c.ask.Events > 0 {
			events.Write(piece)
		}
	})
	total := time.Since(start)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", answer.start, err)
	case !strings.HasPrefix(answer.start, "HTTP/1.1 200 "):
		return fmt.Errorf("the answer was %q, with a body of %d bytes", answer.start, size)
	case size < c.ask.Bytes:
		return fmt.Errorf("the answer has %d bytes, %d were expected", size, c.ask.Bytes)
	case c.ask.Events > 0 && (events.Count != c.ask.Events || !events.Done):
		return fmt.Errorf("the stream has %d events, done: %t; %d were expected", events.Count, events.Done, c.ask.Events)
	case answer.closing:
		return fmt.Errorf("the connection is not kept alive")
	}
	c.total, c.first = append(c.total, total), append(c.first, first)
	return nil
}
