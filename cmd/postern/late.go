package main

import (
	"log/slog"
	"sync"
	"time"

	"github.com/postern-proxy/postern/extproc"
)

// lateHistory is a History of a service that hears of versions by itself, and perhaps later
// than its Envoy: the control plane may have told Envoy of one that has not come here.
type lateHistory struct {
	extproc.History

	look     func()        // has the source looked at out of turn
	patience time.Duration // of a request, with its version not being there
	log      *slog.Logger

	mu    sync.Mutex
	news  chan struct{} // closed at the next change
	asked time.Time     // when the source was last looked at out of turn
	vain  time.Time     // when an unknown version was last looked for without avail
	rest  time.Duration // from then on nobody looks for one
}

const (
	// lookLeast and lookMost bound how often a version that nobody knows is looked
	// for: an Envoy that refuses all that is new may ask with each request.
	lookLeast = 250 * time.Millisecond
	lookMost  = 30 * time.Second
	// lookFor is how long a request waits for its version.
	lookFor = 5 * time.Second
)

func newLateHistory(log *slog.Logger, look func()) *lateHistory {
	return &lateHistory{look: look, patience: lookFor, log: log, news: make(chan struct{})}
}

// Plan finds a version. One that is not there has the source looked at out of turn,
// because the request would fail, and whoever comes with it waits until it is there.
func (h *lateHistory) Plan(version string) *extproc.Plan {
	if p := h.History.Plan(version); p != nil {
		return p
	}
	deadline, again := time.NewTimer(h.patience), time.NewTicker(lookLeast)
	defer deadline.Stop()
	defer again.Stop()
	for {
		news := h.ask()
		if p := h.History.Plan(version); p != nil || news == nil {
			return p
		}
		select {
		case <-news:
		case <-again.C:
		case <-deadline.C:
			h.gaveUp(version)
			return nil
		}
	}
}

// ask has the source looked at, unless it just was, and gives what is closed when something
// new is there; nil while nobody looks because it was in vain.
func (h *lateHistory) ask() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.vain) < h.rest {
		return nil
	}
	if time.Since(h.asked) >= lookLeast {
		h.asked = time.Now()
		h.look()
	}
	return h.news
}

// gaveUp has nobody look for a version for a while, which is longer each time.
func (h *lateHistory) gaveUp(version string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.vain) < h.rest {
		return // one of those who waited together has said so
	}
	h.vain, h.rest = time.Now(), min(max(2*h.rest, lookLeast), lookMost)
	h.log.Error("a version that Envoy has is not to be had here", "version", version)
}

// Add makes a plan the newest, and tells those who wait.
func (h *lateHistory) Add(p *extproc.Plan) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.History.Add(p)
	close(h.news)
	h.news, h.rest = make(chan struct{}), 0
}
