package envoy

import "time"

// State is where an Envoy is in its life.
type State uint8

// The states, in the order in which they are usually passed.
const (
	Starting State = iota + 1 // the process was started
	Ready                     // it has its configuration and accepts connections
	Crashed                   // it ended by itself; another start follows, or an error of Run
	Draining                  // it was asked to stop and lets running requests end
	Stopped                   // the supervisor has ended
)

// String is the state's name in logs.
func (s State) String() string {
	names := [...]string{Starting: "starting", Ready: "ready", Crashed: "crashed", Draining: "draining", Stopped: "stopped"}
	if int(s) >= len(names) || s == 0 {
		return "unknown"
	}
	return names[s]
}

// Event is one change of state.
type Event struct {
	State  State
	PID    int           // the process, in every state but Stopped
	Reason string        // with Crashed: how it ended, one line
	Wait   time.Duration // with Crashed: the time until the next start
}
