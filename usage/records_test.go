package usage

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// recordHouse is a service that takes records from a socket.
type recordHouse struct {
	*Service
	sink *sink
	path string
	end  func()
}

func startRecordHouse(t *testing.T, ledger string) *recordHouse {
	t.Helper()
	h := &recordHouse{sink: &sink{}, path: filepath.Join(t.TempDir(), "r.sock")}
	kept, _, err := OpenLedger(ledger)
	require.NoError(t, err)
	h.Service = New(Settings{Decoder: decoder(t), Consumers: []Consumer{h.sink}, Ledger: kept})
	l, err := net.Listen("unix", h.path)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.ServeRecords(ctx, l) }()
	h.end = func() {
		stop()
		require.NoError(t, <-done)
		require.NoError(t, kept.Close())
	}
	return h
}

// module plays the module's side.
type module struct {
	net.Conn
	t *testing.T
}

func (h *recordHouse) dial(t *testing.T, name string) *module {
	t.Helper()
	c, err := net.Dial("unix", h.path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(c, greeting+name+strings.Repeat("-", senderBytes-len(name)))
	require.NoError(t, err)
	return &module{c, t}
}

// frameOf has a frame on the wire.
func frameOf(number int, records ...[]byte) []byte {
	var body []byte
	for _, r := range records {
		body = protowire.AppendBytes(body, r)
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(records)))
	return append(binary.LittleEndian.AppendUint64(head, uint64(number)), body...)
}

func (m *module) send(text []byte) {
	m.t.Helper()
	_, err := m.Write(text)
	require.NoError(m.t, err)
}

// told waits for the number of a frame that was taken.
func (m *module) told(number uint64) {
	m.t.Helper()
	var text [8]byte
	_, err := io.ReadFull(m, text[:])
	require.NoError(m.t, err)
	assert.Equal(m.t, number, binary.LittleEndian.Uint64(text[:]))
}

func (h *recordHouse) ids() (all []string) {
	for _, r := range h.sink.all() {
		all = append(all, r.ID)
	}
	return all
}

func TestAFrameIsTakenOnceInThisLifeAndTheNext(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "ledger")
	one, two := record(requestEntry(t, "a")), record(requestEntry(t, "b"))
	h := startRecordHouse(t, ledger)
	m := h.dial(t, "envoy")
	m.send(frameOf(1, one, two))
	m.told(1)
	assert.Equal(t, []string{"a", "b"}, h.ids(), "it was settled before it was told")
	m.send(frameOf(2, record(requestEntry(t, "c"))))
	m.told(2)
	again := h.dial(t, "envoy") // it did not hear of the second
	again.send(frameOf(2, record(requestEntry(t, "c"))))
	again.told(2)
	other := h.dial(t, "another")
	other.send(frameOf(1, record(requestEntry(t, "d"))))
	other.told(1)
	other.send(frameOf(2, record(requestEntry(t, "e"))))
	other.told(2)
	assert.Equal(t, []string{"a", "b", "c", "d", "e"}, h.ids())
	h.end()

	h = startRecordHouse(t, ledger)
	m = h.dial(t, "another")
	m.send(frameOf(2, record(requestEntry(t, "e"))))
	m.told(2)
	m.send(frameOf(3, record(requestEntry(t, "f"))))
	m.told(3)
	assert.Equal(t, []string{"f"}, h.ids())
	h.end()
}

// A frame of attempts alone settles nothing, and is remembered all the same.
func TestAFrameThatSettlesNothing(t *testing.T) {
	h := startRecordHouse(t, filepath.Join(t.TempDir(), "ledger"))
	m := h.dial(t, "envoy")
	failed := record(attemptEntry(t, "a", 1, answered(503, "")))
	for range 2 {
		m.send(frameOf(1, failed))
		m.told(1)
	}
	assert.Equal(t, uint64(1), h.Stats().Attempts)
	h.end()
}

func TestWhoSpeaksOtherwiseIsLeft(t *testing.T) {
	h := startRecordHouse(t, "")
	gone := func(m net.Conn) {
		_, err := m.Read(make([]byte, 1))
		require.Error(t, err)
	}
	stranger, err := net.Dial("unix", h.path)
	require.NoError(t, err)
	defer stranger.Close()
	_, err = io.WriteString(stranger, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	gone(stranger)

	large := h.dial(t, "large")
	large.send(binary.LittleEndian.AppendUint32(nil, largestFrame+1))
	large.send(make([]byte, frameHead-4))
	gone(large)

	cut := h.dial(t, "cut")
	whole := frameOf(1, record(requestEntry(t, "a")))
	cut.send(whole[:len(whole)-1])
	require.NoError(t, cut.Close())

	broken := h.dial(t, "broken")
	text := frameOf(1, record(requestEntry(t, "b")), []byte("x"))
	text[len(text)-2] = 0xFF // the last record says that it is longer than the frame
	broken.send(text)
	broken.told(1)
	assert.Equal(t, []string{"b"}, h.ids())
	assert.Equal(t, uint64(1), h.Stats().Skipped)
	h.end()
}

// Many Envoys at once; each frame of each counts once.
func TestManySendersAtOnce(t *testing.T) {
	h := startRecordHouse(t, filepath.Join(t.TempDir(), "ledger"))
	const senders, frames = 8, 50
	done := make(chan struct{})
	for s := range senders {
		m := h.dial(t, "envoy-"+strconv.Itoa(s))
		var all [][]byte
		for f := 1; f <= frames; f++ {
			all = append(all, frameOf(f, record(requestEntry(t, strconv.Itoa(s)+"."+strconv.Itoa(f)))))
		}
		go func() {
			defer func() { done <- struct{}{} }()
			for f := 1; f <= frames; f++ {
				m.send(all[f-1])
				m.told(uint64(f))
			}
		}()
	}
	for range senders {
		<-done
	}
	assert.Len(t, h.sink.all(), senders*frames)
	h.end()
}
