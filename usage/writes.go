package usage

// writes is how writing a file goes. It is not safe for concurrent use.
type writes struct {
	failed   error // why the last one did; nil: it did not
	failures uint64
}

// note notes one write, and reports a change: once that it fails, and nil once that it
// works again.
func (w *writes) note(err error, report func(error)) {
	changed := (err == nil) != (w.failed == nil)
	if w.failed = err; err != nil {
		w.failures++
	}
	if changed && report != nil {
		report(err)
	}
}
