package demo

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// frame is one server-sent event.
type frame struct {
	event string // the event's name; empty: none
	data  []byte // one line
	pause bool   // the model thinks before it says this
}

// done is how chat/completions and completions say that a stream is complete.
var done = frame{data: []byte("[DONE]")}

// play sends frames as they come, each flushed by itself. It ends at once when the
// client goes away. It always returns nil: the answer has begun, and there is no
// other way left to report an error.
func (m *Model) play(w http.ResponseWriter, r *http.Request, frames iter.Seq[frame]) error {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	for f := range frames {
		if f.pause && !sleep(r.Context(), m.Delay) {
			return nil
		}
		if _, err := w.Write(f.bytes()); err != nil {
			return nil
		}
		if err := out.Flush(); err != nil {
			return nil
		}
	}
	return nil
}

func (f frame) bytes() []byte {
	var out []byte
	if f.event != "" {
		out = append(append(append(out, "event: "...), f.event...), '\n')
	}
	return append(append(append(out, "data: "...), f.data...), "\n\n"...)
}

// sleep says whether the time passed with the client still there.
func sleep(ctx context.Context, delay time.Duration) bool {
	if delay <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
