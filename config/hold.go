package config

// HoldFirstEvent is the one thing that answers are held for.
const HoldFirstEvent = "first_event"

// Holds says that an answer of the model begins with its first event, and not with its
// headers. m may be nil.
func (m *Model) Holds() bool { return m != nil && m.Hold == HoldFirstEvent }

func (v *validator) hold(at path, until string) {
	if v.given(at) && !v.broken(at) && until != HoldFirstEvent {
		v.problemf(at, "must be %s", HoldFirstEvent)
	}
}
