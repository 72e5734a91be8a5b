package envoy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets this test binary play two other programs: linked as "envoy", an
// Envoy whose version is the name of its folder; and with superviseVariable set, a
// Postern that can be killed.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "envoy" {
		path := os.Args[0]
		if target, err := os.Readlink(path); err == nil && filepath.Base(target) == "envoy" {
			path = target
		}
		version := filepath.Base(filepath.Dir(path))
		fmt.Printf("\n%s  version: 0123abcd/%s/Clean/RELEASE/BoringSSL\n\n", path, version)
		os.Exit(0)
	}
	if os.Getenv(superviseVariable) != "" {
		os.Exit(superviseForTest())
	}
	goleak.VerifyTestMain(m)
}
