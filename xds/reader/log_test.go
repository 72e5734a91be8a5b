package reader_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/postern-proxy/postern/test/need"
)

// writer is the module's log in a process that plays Envoy, and the socket it writes to.
type writer struct {
	t      *testing.T
	in     io.Writer
	out    *bufio.Reader
	socket string
}

func write(t *testing.T, sanitizer string) *writer {
	t.Helper()
	folder := t.TempDir()
	w := &writer{t: t, socket: filepath.Join(folder, "r.sock")}
	binary := filepath.Join(folder, "harness")
	flags := []string{"-pthread"}
	if sanitizer != "" {
		flags = append(flags, "-fsanitize="+sanitizer, "-fno-sanitize-recover=all")
	}
	if text, err := compile(t, binary, "testdata/log_harness.c", flags...); err != nil {
		require.NotEmpty(t, sanitizer, "%s", text)
		need.Missing(t, "a C compiler with -fsanitize="+sanitizer)
	}
	in, out := begin(t, binary, w.socket)
	w.in, w.out = in, bufio.NewReader(out)
	return w
}

// log has so many threads write so many records each, and gives how many were written and
// dropped since the begin.
func (w *writer) log(threads, each int) (written, dropped int) {
	w.t.Helper()
	_, err := fmt.Fprintf(w.in, "%d %d\n", threads, each)
	require.NoError(w.t, err)
	_, err = fmt.Fscan(w.out, &written, &dropped)
	require.NoError(w.t, err)
	return written, dropped
}

// listener is one life of a reader.
type listener struct {
	t *testing.T
	l net.Listener
}

func (w *writer) listen() *listener {
	w.t.Helper()
	require.NoError(w.t, os.RemoveAll(w.socket))
	l, err := net.Listen("unix", w.socket)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = l.Close() })
	return &listener{w.t, l}
}

// visit is one connection of the module's.
type visit struct {
	t    *testing.T
	c    net.Conn
	in   *bufio.Reader
	name string
}

func (l *listener) accept() *visit {
	l.t.Helper()
	c, err := l.l.Accept()
	require.NoError(l.t, err)
	l.t.Cleanup(func() { _ = c.Close() })
	v := &visit{t: l.t, c: c, in: bufio.NewReader(c)}
	require.NoError(l.t, c.SetDeadline(time.Now().Add(30*time.Second)))
	hello := make([]byte, 20)
	_, err = io.ReadFull(v.in, hello)
	require.NoError(l.t, err)
	require.Equal(l.t, "PLG1", string(hello[:4]))
	v.name = string(hello[4:])
	return v
}

// frame gives the next frame's number, and its records' ids.
func (v *visit) frame() (number uint64, ids []string) {
	v.t.Helper()
	head := make([]byte, 16)
	_, err := io.ReadFull(v.in, head)
	require.NoError(v.t, err)
	text := make([]byte, binary.LittleEndian.Uint32(head))
	_, err = io.ReadFull(v.in, text)
	require.NoError(v.t, err)
	for len(text) > 0 {
		record, n := protowire.ConsumeBytes(text)
		require.Positive(v.t, n)
		ids, text = append(ids, idOf(v.t, record)), text[n:]
	}
	require.Len(v.t, ids, int(binary.LittleEndian.Uint32(head[4:])))
	return binary.LittleEndian.Uint64(head[8:]), ids
}

// idOf walks a record's fields, which have to be whole.
func idOf(t *testing.T, record []byte) (id string) {
	t.Helper()
	for len(record) > 0 {
		field, kind, n := protowire.ConsumeTag(record)
		require.Positive(t, n)
		m := protowire.ConsumeFieldValue(field, kind, record[n:])
		require.Positive(t, m)
		if field == 16 {
			text, _ := protowire.ConsumeBytes(record[n:])
			id = string(text)
		}
		if kind == protowire.BytesType {
			text, _ := protowire.ConsumeBytes(record[n:])
			require.LessOrEqual(t, len(text), 2048)
		}
		record = record[n+m:]
	}
	return id
}

func (v *visit) took(number uint64) {
	v.t.Helper()
	_, err := v.c.Write(binary.LittleEndian.AppendUint64(nil, number))
	require.NoError(v.t, err)
}

var sanitized = []string{"thread", "address,undefined", ""}

// TestEachRecordComesOnce: from many threads, over readers that come and go, with frames
// that were taken and not.
func TestEachRecordComesOnce(t *testing.T) {
	for _, sanitizer := range sanitized {
		t.Run("with "+sanitizer, func(t *testing.T) {
			w := write(t, sanitizer)
			got := map[string]int{}
			w.log(2, 50) // before anybody listens
			name, last := "", uint64(0)
			for life := range 4 {
				l := w.listen()
				written, dropped := w.log(4, 500)
				require.Zero(t, dropped)
				v := l.accept()
				require.Contains(t, []string{"", name}, strings.Repeat(name, min(life, 1)))
				if name != "" {
					require.Equal(t, name, v.name, "the process is the same")
				}
				name = v.name
				for len(got) < written {
					number, ids := v.frame()
					require.LessOrEqual(t, number, last+1, "none is left out")
					if number == last+1 {
						last = number
						for _, id := range ids {
							got[id]++
						}
					}
					if number%2 == 0 { // the last need not be told: it comes again, and is known
						v.took(number)
					}
				}
				require.NoError(t, v.c.Close())
				require.NoError(t, l.l.Close())
			}
			for id, times := range got {
				require.Equal(t, 1, times, id)
			}
		})
	}
}

// TestAFullBoxDropsAndCounts: nobody reads, and then somebody does.
func TestAFullBoxDropsAndCounts(t *testing.T) {
	w := write(t, "address,undefined")
	written, dropped := w.log(4, 30_000)
	require.Positive(t, dropped)
	require.Equal(t, 4*30_000, written+dropped)
	v := w.listen().accept()
	got := 0
	for got < written {
		number, ids := v.frame()
		got += len(ids)
		v.took(number)
	}
	require.Equal(t, written, got)
	after, still := w.log(1, 100)
	require.Equal(t, dropped, still, "there is room again")
	for got < after {
		_, ids := v.frame()
		got += len(ids)
	}
	require.Equal(t, after, got)
}

// TestAReaderThatStopsHoldsNobodyUp: the threads that log are Envoy's workers.
func TestAReaderThatStopsHoldsNobodyUp(t *testing.T) {
	w := write(t, "")
	l := w.listen()
	w.log(1, 10)
	v := l.accept() // and reads no more
	begun := time.Now()
	_, dropped := w.log(4, 30_000)
	assert.Less(t, time.Since(begun), 10*time.Second)
	assert.Positive(t, dropped)
	require.NoError(t, v.c.Close())
}
