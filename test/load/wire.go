package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// errUnsized says that a message states neither length nor chunks.
var errUnsized = errors.New("neither content-length nor chunks")

// head is what matters of an HTTP/1.1 message before its body. Parsing by hand
// keeps the client's and the mock's share of the processors small: they run on the
// same machine as what is measured.
type head struct {
	start   string // the first line
	length  int64  // -1 if not stated
	chunked bool
	closing bool
}

func readHead(reader *bufio.Reader) (head, error) {
	h := head{length: -1}
	for first := true; ; first = false {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			if first && len(line) == 0 {
				return h, err
			}
			return h, fmt.Errorf("in the head: %w", noEOF(err))
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first:
			h.start = string(line)
		case len(line) == 0:
			return h, nil
		default:
			if err := h.note(line); err != nil {
				return h, err
			}
		}
	}
}

func (h *head) note(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	var err error
	switch {
	case bytes.EqualFold(name, []byte("content-length")):
		h.length, err = strconv.ParseInt(string(value), 10, 64)
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		h.chunked = bytes.EqualFold(value, []byte("chunked"))
	case bytes.EqualFold(name, []byte("connection")):
		h.closing = bytes.EqualFold(value, []byte("close"))
	}
	return err
}

// body gives the body piece by piece; a piece is valid during the call only.
func (h *head) body(reader *bufio.Reader, take func([]byte)) error {
	switch {
	case h.chunked:
		return chunks(reader, take)
	case h.length >= 0:
		return exactly(reader, h.length, take)
	}
	return errUnsized
}

func chunks(reader *bufio.Reader, take func([]byte)) error {
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("before a chunk: %w", noEOF(err))
		}
		line, _, _ = bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(";"))
		size, err := strconv.ParseInt(string(line), 16, 64)
		if err != nil {
			return fmt.Errorf("a chunk's size: %w", err)
		}
		if size == 0 {
			return trailers(reader)
		}
		if err := exactly(reader, size, take); err != nil {
			return err
		}
		if _, err := reader.Discard(2); err != nil {
			return fmt.Errorf("after a chunk: %w", noEOF(err))
		}
	}
}

func trailers(reader *bufio.Reader) error {
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("in the trailers: %w", noEOF(err))
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return nil
		}
	}
}

func exactly(reader *bufio.Reader, n int64, take func([]byte)) error {
	for n > 0 {
		if _, err := reader.Peek(1); err != nil {
			return fmt.Errorf("the body is %d bytes short: %w", n, noEOF(err))
		}
		piece, _ := reader.Peek(int(min(n, int64(reader.Buffered()))))
		take(piece)
		n -= int64(len(piece))
		_, _ = reader.Discard(len(piece)) // what Peek gave is there
	}
	return nil
}

// noEOF keeps an end in the middle of a message from looking like a clean one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
