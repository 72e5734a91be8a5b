// Package reader is the native reader of answers: a small module in C that Envoy loads,
// which does what the Lua filter beside it does in a tenth of the time. It is built by
// `make setup` where there is a C compiler, and used where it is found; else the Lua
// filter stays.
//
// The invariant: a module is only used by the Postern whose source it was built from and
// by the Envoy it was built for; both stand in its file's name.
//
// Functions keep no state and may be called from any goroutine.
package reader

import (
	"crypto/sha256"
	_ "embed" // the source
	"encoding/hex"
	"os"
	"path/filepath"
)

//go:embed native/usage.c
var source []byte

// Name is the file's name of the module for a version of Envoy:
// postern-usage-VERSION-HASH.so, where HASH is the first 12 digits of the SHA-256 of
// the source. The Makefile knows it too.
func Name(envoy string) string {
	sum := sha256.Sum256(source)
	return "postern-usage-" + envoy + "-" + hex.EncodeToString(sum[:])[:12] + ".so"
}

// Beside is the absolute path of the module that lies in the folder of an Envoy's binary;
// empty if there is none. Who can write there can replace Envoy itself.
func Beside(binary, version string) string {
	folder, err := filepath.Abs(filepath.Dir(binary))
	if binary == "" || err != nil {
		return ""
	}
	path := filepath.Join(folder, Name(version))
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return path
}
