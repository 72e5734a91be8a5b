package load

import "bytes"

var (
	dataField = []byte("data:")
	doneLine  = []byte("data: [DONE]")
)

// Events counts the server-sent events of one answer, however its bytes are cut.
// The zero value is ready.
type Events struct {
	Count int  // events with data that have ended
	Done  bool // the last of them was [DONE]

	start  [16]byte // of the current line
	length int      // of the current line
	data   bool     // the current event has data
	done   bool     // and it is [DONE]
}

// Write takes the next bytes of the answer.
func (e *Events) Write(p []byte) {
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			e.grow(p)
			return
		}
		e.grow(p[:end])
		e.endLine()
		p = p[end+1:]
	}
}

func (e *Events) grow(p []byte) {
	if e.length < len(e.start) {
		copy(e.start[e.length:], p)
	}
	e.length += len(p)
}

func (e *Events) endLine() {
	line := e.start[:min(e.length, len(e.start))]
	if e.length <= len(e.start) {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	e.length = 0
	switch {
	case len(line) > 0 && bytes.HasPrefix(line, dataField):
		e.data, e.done = true, bytes.Equal(line, doneLine)
	case len(line) == 0 && e.data:
		e.Count++
		e.Done = e.done
		e.data, e.done = false, false
	}
}
