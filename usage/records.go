package usage

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// The native module's side of the wire, see xds/reader/native/log.c.
const (
	greeting     = "PLG1"
	senderBytes  = 16
	frameHead    = 16
	largestFrame = 1 << 20 // far above what the module sends
)

// ServeRecords takes records from Envoys that have the native module, until ctx ends. What
// was taken is acknowledged once it is settled: a module keeps it until then, so nothing
// is lost by a Postern that dies, as long as the next one comes before the module's memory
// is full.
func (s *Service) ServeRecords(ctx context.Context, l net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("records of the access log: %w", err)
		}
		open.Go(func() { s.serveRecords(ctx, c) })
	}
}

// serveRecords serves one connection until it breaks; the module makes another then.
func (s *Service) serveRecords(ctx context.Context, c net.Conn) {
	s.streams.Add(1)
	defer s.streams.Add(-1)
	end := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer end()
	defer func() { _ = c.Close() }()
	in := bufio.NewReaderSize(c, 128<<10)
	sender, err := greeted(in)
	if err != nil {
		return
	}
	from := records{service: s, sender: sender}
	for {
		number, err := from.next(in)
		if err != nil {
			return
		}
		if _, err := c.Write(binary.LittleEndian.AppendUint64(nil, number)); err != nil {
			return
		}
	}
}

// greeted reads who comes.
func greeted(in io.Reader) (sender string, err error) {
	var hello [len(greeting) + senderBytes]byte
	if _, err := io.ReadFull(in, hello[:]); err != nil {
		return "", err
	}
	if string(hello[:len(greeting)]) != greeting {
		return "", errors.New("usage: not a module that writes records")
	}
	return hex.EncodeToString(hello[len(greeting):]), nil
}

// records is one connection's reader.
type records struct {
	service *Service
	sender  string
	reader  reader
	text    []byte
}

// next takes a frame, unless it was taken before, and gives its number.
func (r *records) next(in io.Reader) (number uint64, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > largestFrame {
		return 0, errors.New("usage: a frame of records that is too large")
	}
	if cap(r.text) < int(size) {
		r.text = make([]byte, size)
	}
	text := r.text[:size]
	if _, err := io.ReadFull(in, text); err != nil {
		return 0, err
	}
	number = binary.LittleEndian.Uint64(head[8:])
	r.service.takeFrame(&r.reader, text, frame{Sender: r.sender, Number: number})
	return number, nil
}

// takeFrame takes a frame's records. One frame is taken at a time: of a sender that comes
// again, before what it sent first was read, each is taken once.
func (s *Service) takeFrame(from *reader, text []byte, of frame) {
	s.framing.Lock()
	defer s.framing.Unlock()
	if s.settings.Ledger != nil && s.settings.Ledger.has(of) {
		return
	}
	all := from.entries[:0]
	for len(text) > 0 {
		record, n := protowire.ConsumeBytes(text)
		if n < 0 {
			s.skipped.Add(1)
			break
		}
		all, text = append(all, record), text[n:]
	}
	s.takeEntries(from, all, (*entry).readRecord, of)
}
