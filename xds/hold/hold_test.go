package hold_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/postern-proxy/postern/xds/hold"
)

// host is what Envoy is to the module: it has the headers of the newest answer, and what
// is held of the bodies.
type host struct {
	module api.Module
	header map[string]string
	bodies map[int][]byte // by the answers' numbers
	held   []byte         // of the one that the module is asked about
	asked  int            // bytes that the module asked for
	failed bool           // the newest answer's status was made 502
}

// What the module is answered, and what it answers.
const (
	found, missing = 0, 1
	goOn, wait     = 0, 1
)

func start(t testing.TB) *host {
	t.Helper()
	h := &host{bodies: map[int][]byte{}}
	runtime := wazero.NewRuntime(t.Context())
	t.Cleanup(func() { _ = runtime.Close(context.WithoutCancel(t.Context())) })
	_, err := runtime.NewHostModuleBuilder("env").
		NewFunctionBuilder().WithFunc(h.getHeader).Export("proxy_get_header_map_value").
		NewFunctionBuilder().WithFunc(h.getBuffer).Export("proxy_get_buffer_bytes").
		NewFunctionBuilder().WithFunc(h.setHeader).Export("proxy_replace_header_map_value").
		Instantiate(t.Context())
	require.NoError(t, err)
	h.module, err = runtime.Instantiate(t.Context(), hold.Module())
	require.NoError(t, err)
	return h
}

// give writes text where the module wants it; false if it has no room.
func (h *host) give(ctx context.Context, text string, pointer, size uint32) bool {
	to, err := h.module.ExportedFunction("proxy_on_memory_allocate").Call(ctx, uint64(len(text)))
	if err != nil || to[0] == 0 {
		return false
	}
	memory := h.module.Memory()
	return memory.WriteString(uint32(to[0]), text) && memory.WriteUint32Le(pointer, uint32(to[0])) &&
		memory.WriteUint32Le(size, uint32(len(text)))
}

func (h *host) getHeader(ctx context.Context, m api.Module, of, at, length, pointer, size uint32) uint32 {
	name, ok := m.Memory().Read(at, length)
	value, there := h.header[string(name)]
	if !ok || of != 2 || !there || !h.give(ctx, value, pointer, size) {
		return missing
	}
	return found
}

func (h *host) setHeader(_ context.Context, m api.Module, of, at, length, to, size uint32) uint32 {
	name, _ := m.Memory().Read(at, length)
	value, _ := m.Memory().Read(to, size)
	h.failed = of == 2 && string(name) == ":status" && string(value) == "502"
	return found
}

func (h *host) getBuffer(ctx context.Context, _ api.Module, of, from, most, pointer, size uint32) uint32 {
	part := h.held[min(int(from), len(h.held)):]
	part = part[:min(int(most), len(part))]
	h.asked += len(part)
	if of != 1 || !h.give(ctx, string(part), pointer, size) {
		return missing
	}
	return found
}

// headers are those of the answer of a number.
func (h *host) headers(t testing.TB, number int, last bool, header map[string]string) int {
	t.Helper()
	h.header, h.failed = header, false
	delete(h.bodies, number)
	return h.call(t, "proxy_on_response_headers", number, len(header), last)
}

// body is a piece of its body.
func (h *host) body(t testing.TB, number int, last bool, piece string) int {
	t.Helper()
	h.held = slices.Concat(h.bodies[number], []byte(piece))
	action := h.call(t, "proxy_on_response_body", number, len(h.held), last)
	if h.bodies[number] = h.held; action == goOn {
		delete(h.bodies, number)
	}
	return action
}

func (h *host) call(t testing.TB, name string, number, size int, last bool) int {
	t.Helper()
	end := uint64(0)
	if last {
		end = 1
	}
	got, err := h.module.ExportedFunction(name).Call(t.Context(), uint64(number), uint64(size), end)
	require.NoError(t, err)
	return int(got[0])
}

var (
	stream = map[string]string{":status": "200", "content-type": "text/event-stream"}
	plain  = map[string]string{":status": "200", "content-type": "application/json"}
)

func TestWhichAnswersAreHeldUntilWhat(t *testing.T) {
	long := strings.Repeat("x", 80<<10)
	for name, c := range map[string]struct {
		header map[string]string
		held   bool // at all
		events bool // until an event
	}{
		"stream":              {stream, true, true},
		"with a parameter":    {map[string]string{":status": "200", "content-type": "text/event-stream; charset=utf-8"}, true, true},
		"capitals":            {map[string]string{":status": "200", "content-type": "Text/Event-STREAM"}, true, true},
		"201":                 {map[string]string{":status": "201", "content-type": "text/event-stream"}, true, true},
		"plain":               {plain, true, false},
		"compressed":          {map[string]string{":status": "200", "content-type": "text/event-stream", "content-encoding": "gzip"}, true, false},
		"no type":             {map[string]string{":status": "200"}, true, false},
		"type too short":      {map[string]string{":status": "200", "content-type": "text/event-strea"}, true, false},
		"type too long":       {map[string]string{":status": "200", "content-type": long}, true, false},
		"encoding too long":   {map[string]string{":status": "200", "content-type": "text/event-stream", "content-encoding": long}, true, true},
		"404":                 {map[string]string{":status": "404", "content-type": "text/event-stream"}, false, false},
		"500":                 {map[string]string{":status": "500"}, false, false},
		"redirect":            {map[string]string{":status": "302"}, false, false},
		"no status":           {map[string]string{"content-type": "text/event-stream"}, false, false},
		"another stream type": {map[string]string{":status": "200", "content-type": "text/event-streams"}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			got := h.headers(t, 7, false, c.header)
			if !c.held {
				require.Equal(t, goOn, got)
				assert.Equal(t, goOn, h.body(t, 7, false, ": no"))
				return
			}
			require.Equal(t, wait, got)
			assert.Equal(t, wait, h.body(t, 7, false, ""), "nothing has come")
			first := goOn
			if c.events {
				first = wait
			}
			assert.Equal(t, first, h.body(t, 7, false, ": a comment\n\n"))
			assert.Equal(t, goOn, h.body(t, 7, false, "data: 1\n\n"))
			assert.Equal(t, goOn, h.body(t, 7, false, ": a comment\n\n"), "later ones are none of its business")
			assert.False(t, h.failed)
			assert.Equal(t, goOn, h.headers(t, 8, true, c.header), "no body")
			assert.Equal(t, c.events, h.failed)
		})
	}
}

// begins says in Go when a stream has begun.
var begins = regexp.MustCompile(`(?:^|[\r\n])data:[^\r\n]*[\r\n]`)

// lastLine is one of data that has no end.
var lastLine = regexp.MustCompile(`(?:^|[\r\n])data:[^\r\n]*$`)

// needed is how many bytes of a stream have to be there; more than there are if it never
// begins.
func needed(body string) int {
	if at := begins.FindStringIndex(body); at != nil {
		return min(at[1], hold.Most)
	}
	return hold.Most
}

// check lets a stream come in pieces. The module has to wait until it has begun, and to
// look at each byte once.
func check(t testing.TB, h *host, number int, body string, size func(i int) int) {
	t.Helper()
	require.Equal(t, wait, h.headers(t, number, false, stream))
	h.asked = 0
	enough := needed(body)
	for i, at := 0, 0; at < len(body); i++ {
		next := min(at+max(1, size(i)), len(body))
		want := wait
		if next >= enough {
			want = goOn
		}
		if got := h.body(t, number, false, body[at:next]); got != want || h.asked > next {
			require.Fail(t, "not as it should be", "%d at %q, %d bytes read", got, body[:next], h.asked)
		}
		if want == goOn {
			require.False(t, h.failed)
			return
		}
		at = next
	}
	require.Equal(t, goOn, h.body(t, number, true, ""), "the end lets go")
	require.Equal(t, !lastLine.MatchString(body), h.failed, "%q", body)
}

var streams = []string{
	"data: 1\n\n", "data: 1\r\n\r\n", "data: 1\r\r", "data:\n", "data:", "data", "data\n", "dat: 1\ndata: 2\n",
	"event: x\nid: 1\ndata: {}\n\n", ": ping\n\n: ping\n\ndata: 1\n\n", ":data: 1\ndata: 1\n", "xdata: 1\n",
	"\n\n\ndata: 1\n", "\ufeffdata: 1\n\ndata: 2\n\n", "ddata: 1\n", "ddadatdata: 1\ndata:x\n", "retry: 3\rdata:1\r",
	"", "\r\n", ": data: and data:\n", "data: \x00\xff\n",
	strings.Repeat(": ping\n\n", 4000), strings.Repeat("x", hold.Most-1) + "\ndata: 1\n", "data: " + strings.Repeat("x", 40<<10),
}

func TestAStreamBeginsWithItsFirstLineOfData(t *testing.T) {
	h := start(t)
	for i, body := range streams {
		for _, size := range []int{1, 2, 3, 7, 1000, 16 << 10, 64 << 10} {
			check(t, h, 1+i, body, func(int) int { return size })
		}
	}
}

func FuzzAStreamBegins(f *testing.F) {
	for _, body := range streams {
		f.Add(body, []byte{1, 5, 2})
	}
	h := start(f)
	f.Fuzz(func(t *testing.T, body string, sizes []byte) {
		check(t, h, 3, body, func(i int) int {
			if len(sizes) == 0 {
				return len(body)
			}
			return int(sizes[i%len(sizes)])
		})
	})
}

// An entry of the table that another answer took over is an answer let go, and no more.
func TestAnswersThatShareAnEntry(t *testing.T) {
	h := start(t)
	const first, second = 5, 5 + 1<<16
	require.Equal(t, wait, h.headers(t, first, false, stream))
	require.Equal(t, wait, h.headers(t, second, false, stream))
	assert.Equal(t, goOn, h.body(t, first, false, ": ping\n"))
	assert.Equal(t, wait, h.body(t, second, false, ": ping\n"))
	assert.Equal(t, goOn, h.body(t, first, false, ": ping\n"))
	assert.Equal(t, goOn, h.body(t, second, false, "data: 1\n"))
	assert.Equal(t, goOn, h.body(t, second+1, false, ": ping\n"), "never held")
}

func TestAnswersSideBySide(t *testing.T) {
	h := start(t)
	for number := 1; number < 1000; number++ {
		require.Equal(t, wait, h.headers(t, number, false, stream))
	}
	for number := 1; number < 1000; number++ {
		require.Equal(t, wait, h.body(t, number, false, "data: "))
	}
	for number := 1; number < 1000; number++ {
		require.Equal(t, goOn, h.body(t, number, false, "1\n"))
	}
}

// The end may come with the last bytes.
func TestAnEndWithTheLastBytes(t *testing.T) {
	h := start(t)
	for body, failed := range map[string]bool{
		"data: 1\n": false, "data: 1": false, ": ping\n": true, "": true, "dat": true, "event: x\n\n": true,
		strings.Repeat(" ", hold.Most): false,
	} {
		require.Equal(t, wait, h.headers(t, 1, false, stream))
		assert.Equal(t, goOn, h.body(t, 1, true, body))
		assert.Equal(t, failed, h.failed, "%.20q", body)
	}
	require.Equal(t, wait, h.headers(t, 1, false, plain))
	assert.Equal(t, goOn, h.body(t, 1, true, ""))
	assert.False(t, h.failed)
}

// What cannot be read is not held.
func TestABodyThatEnvoyDoesNotGive(t *testing.T) {
	h := start(t)
	require.Equal(t, wait, h.headers(t, 1, false, stream))
	h.held = nil
	assert.Equal(t, goOn, h.call(t, "proxy_on_response_body", 1, 10, false))
}

func TestTheModuleIsSmall(t *testing.T) {
	assert.Less(t, len(hold.Module()), 1024)
}
