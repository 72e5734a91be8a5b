package usage

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// What a terminal understands: the other screen and a hidden cursor while the table is
// shown, the way back at the end, and drawing over without flicker.
const (
	screenOn  = "\x1b[?1049h\x1b[?25l"
	screenOff = "\x1b[?25h\x1b[?1049l"
	home      = "\x1b[H"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
)

// Watch shows the table in a terminal and refreshes it.
type Watch struct {
	Out     io.Writer
	Fetch   func(ctx context.Context) (Snapshot, error)
	Size    func() (width, height int) // asked each time; nil: 80 × 24
	Every   time.Duration              // default 2s
	Refresh <-chan time.Time           // instead of Every
}

// Run draws the table again and again until ctx ends, and leaves the terminal as it
// was. A fetch that fails is said in the table's place and tried again; only a write
// that fails ends it.
func (w Watch) Run(ctx context.Context) (err error) {
	refresh := w.Refresh
	if refresh == nil {
		every := w.Every
		if every <= 0 {
			every = 2 * time.Second
		}
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		refresh = ticker.C
	}
	if _, err := io.WriteString(w.Out, screenOn); err != nil {
		return err
	}
	defer func() {
		if _, last := io.WriteString(w.Out, screenOff); err == nil {
			err = last
		}
	}()
	for {
		if _, err := io.WriteString(w.Out, w.frame(ctx)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-refresh:
		}
	}
}

// frame is one drawing.
func (w Watch) frame(ctx context.Context) string {
	width, height := TopWidth, TopHeight
	if w.Size != nil {
		width, height = w.Size()
	}
	s, err := w.Fetch(ctx)
	if err != nil {
		return home + clean(fmt.Sprintf("postern  %v", err), width) + clearLine + clearRest
	}
	return home + overwrite(Top(s, width, height))
}

// overwrite makes each line clear what a longer one left there. The last line has no
// line break, so that a full screen does not scroll.
func overwrite(table string) string {
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	return strings.Join(lines, clearLine+"\r\n") + clearLine + clearRest
}
