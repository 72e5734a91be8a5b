// Package pushes_test holds that what changes in a configuration hurts nobody: for
// each kind of change thirty pushes in a row, a hundred in make soak, while streams run and
// requests flow.
//
// The invariant: over all pushes no connection is dropped, no bucket is refilled
// that was not changed, no stream is cut, and no request is lost.
package pushes_test
