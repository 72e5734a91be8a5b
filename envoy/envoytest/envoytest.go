// Package envoytest finds the real Envoy for tests, so that every room tries what
// it compiles on the binary that will run it.
//
// The invariant: where CI=true a missing Envoy fails the test; elsewhere it skips it,
// by name. Functions may be called from the test's goroutine only, as testing asks.
package envoytest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/postern-proxy/postern/envoy"
)

// Binary gives the path of the pinned Envoy: the one in ENVOY, the fetched one of
// this repository, or one on PATH.
func Binary(tb testing.TB) string {
	tb.Helper()
	search := envoy.SearchFromEnvironment()
	search.Folder = filepath.Join(root(tb), envoy.DefaultFolder)
	path, err := envoy.Find(tb.Context(), search)
	switch {
	case err == nil:
		return path
	case errors.Is(err, envoy.ErrNotFound) && os.Getenv("CI") != "true":
		tb.Skipf("%s needs the real Envoy: %v", tb.Name(), err)
	default:
		tb.Fatalf("%s needs the real Envoy: %v", tb.Name(), err)
	}
	return ""
}

// root is the folder of go.mod: tests run in the folder of their package.
func root(tb testing.TB) string {
	tb.Helper()
	folder, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			tb.Fatal("no go.mod above this test")
		}
		folder = parent
	}
}
