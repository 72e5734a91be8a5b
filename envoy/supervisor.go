package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	defaultDrain = 30 * time.Second
	firstBackOff = 100 * time.Millisecond
	lastBackOff  = 5 * time.Second
	// healthy is how long an Envoy must have been ready for its end to count as a
	// new trouble rather than the same one again.
	healthy = 30 * time.Second
	// hopeless is how many Envoys in a row may end without ever having been ready
	// before the first was: then it is the configuration, and trying on is no help.
	hopeless = 3
)

// SupervisorSettings is what a Supervisor needs.
type SupervisorSettings struct {
	Binary     string // path of the Envoy binary, from Find or Fetch
	Bootstrap  []byte // configuration, as from Bootstrap
	Folder     string // existing private folder; the configuration is written there
	Admin      Admin  // at the admin socket that Bootstrap names
	StatPrefix string // of the connection manager whose requests a stop waits for

	// The rest has defaults.

	Log          io.Writer     // Envoy's own output, as from OpenLogFile; nil drops it
	LogLevel     string        // trace, debug, info, warning, error, critical, off; "" is warning
	Concurrency  int           // worker threads; 0 is one a processor
	DrainTimeout time.Duration // how long a stop waits for running requests; 0 is 30 s
	Linger       time.Duration // how long a drained Envoy stays, for what it still has to tell; not if there was no time to drain
	Logger       *slog.Logger  // what the supervisor itself has to say; nil is silence
	OnState      func(Event)   // called at every change, in order, from Run's goroutine; must return soon
}

// Supervisor runs one Envoy: starts it, starts it again when it dies, and stops it
// without cutting a request. Make it with NewSupervisor and call Run once; every
// other method may be called from any goroutine, at any time, any number of times.
type Supervisor struct {
	set SupervisorSettings
	log *slog.Logger

	stop, kill         chan struct{} // closed by Stop and Kill
	stopOnce, killOnce sync.Once

	mu       sync.Mutex
	ran      bool
	pid      int
	restarts int
}

// NewSupervisor checks the settings and starts nothing.
func NewSupervisor(settings SupervisorSettings) (*Supervisor, error) {
	for name, value := range map[string]string{
		"Binary": settings.Binary, "Bootstrap": string(settings.Bootstrap), "Folder": settings.Folder,
		"Admin.Socket": settings.Admin.Socket, "StatPrefix": settings.StatPrefix,
	} {
		if value == "" {
			return nil, fmt.Errorf("envoy.NewSupervisor: %s is empty", name)
		}
	}
	if settings.LogLevel == "" {
		settings.LogLevel = "warning"
	}
	if settings.DrainTimeout == 0 {
		settings.DrainTimeout = defaultDrain
	}
	log := settings.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Supervisor{set: settings, log: log, stop: make(chan struct{}), kill: make(chan struct{})}, nil
}

// Stop asks Envoy to drain and end, and returns at once; Run returns when it is done.
func (s *Supervisor) Stop() { s.stopOnce.Do(func() { close(s.stop) }) }

// Kill ends Envoy at once, draining or not, as for a second Ctrl-C. Run returns
// when it is done.
func (s *Supervisor) Kill() {
	s.killOnce.Do(func() { close(s.kill) })
	s.Stop()
}

// PID is the process id of the running Envoy; 0 when there is none.
func (s *Supervisor) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// Restarts counts how often Envoy was started again after it ended by itself.
func (s *Supervisor) Restarts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarts
}

// Run keeps Envoy running until ctx ends or Stop is called, then drains it, and
// returns nil when the process is gone. It gives an error, with Envoy's reason in
// one sentence, when Envoy cannot be started or ends three times before it was ever
// ready.
func (s *Supervisor) Run(ctx context.Context) error {
	s.mu.Lock()
	again := s.ran
	s.ran = true
	s.mu.Unlock()
	if again {
		return errors.New("envoy.Supervisor: Run was called twice")
	}
	release := context.AfterFunc(ctx, s.Stop)
	defer release()
	defer func() { s.tell(Event{State: Stopped}) }()
	config, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	return s.keepAlive(context.WithoutCancel(ctx), config)
}

// keepAlive starts Envoy again and again.
func (s *Supervisor) keepAlive(ctx context.Context, config string) error {
	proven, failures, wait := false, 0, firstBackOff
	for !closed(s.stop) {
		life := s.live(ctx, config)
		if life.stopped {
			return nil
		}
		proven = proven || life.wasReady
		failures++
		if !proven && (failures >= hopeless || life.unstartable) {
			return fmt.Errorf("Envoy does not start: %s", life.reason) //nolint:staticcheck // Envoy is a name
		}
		if life.readyFor >= healthy {
			wait = firstBackOff
		}
		s.log.Warn("Envoy ended by itself and is started again", "reason", life.reason, "wait", wait)
		s.tell(Event{State: Crashed, PID: life.pid, Reason: life.reason, Wait: wait})
		if !s.pause(wait) {
			return nil
		}
		wait = min(2*wait, lastBackOff)
		s.mu.Lock()
		s.restarts++
		s.mu.Unlock()
	}
	return nil
}

// pause waits; it gives false when a stop was asked for.
func (s *Supervisor) pause(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.stop:
		return false
	case <-timer.C:
		return true
	}
}

// tell reports a change of state to whoever wants to know.
func (s *Supervisor) tell(event Event) {
	if event.PID == 0 {
		event.PID = s.PID()
	}
	s.log.Debug("Envoy's state", "state", event.State.String(), "pid", event.PID)
	if s.set.OnState != nil {
		s.set.OnState(event)
	}
}

func (s *Supervisor) setPID(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
