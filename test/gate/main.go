package gate

import (
	"fmt"
	"os"

	"go.uber.org/goleak"
)

// Main is a TestMain: it runs a package's tests, removes the binary and ends the process.
// A goroutine that outlives good tests fails them.
func Main(run func() int, options ...goleak.Option) {
	code := run()
	RemoveBinary()
	if code == 0 {
		if err := goleak.Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
