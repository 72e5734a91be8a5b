package envoy

import "io"

// What tests look at from outside.

var (
	Reason      = reason
	ExplainPip  = explainPip
	Unsupported = unsupported
)

// SetLimit makes a log file rotate earlier.
func (l *LogFile) SetLimit(bytes int64) { l.limit = bytes }

// NewTail is what Envoy's output is written to.
func NewTail(log io.Writer) interface {
	io.Writer
	String() string
} {
	return &tail{log: log}
}
