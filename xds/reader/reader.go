// Package reader is the native reader: a small module in C that Envoy loads. It reads the
// tokens of answers, as the Lua filter beside it does, in a tenth of the time, and writes
// the access log, as Envoy's own log to a service does, in a fifth. It is built by
// `make setup` where there is a C compiler, and used where it is found; else the two
// others do the work.
//
// The invariant: a module is only used by the Postern whose source it was built from and
// by the Envoy it was built for; both stand in its file's name.
//
// Functions keep no state and may be called from any goroutine.
package reader

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"os"
	"path/filepath"
)

//go:embed native/envoy.h native/log.c native/usage.c
var source embed.FS

// Name is the file's name of the module for a version of Envoy:
// postern-VERSION-HASH.so, where HASH is the first 12 digits of the SHA-256 of the source,
// one file after the other by their names. The Makefile knows it too.
func Name(envoy string) string {
	sum := sha256.New()
	files, _ := source.ReadDir("native") // what is embedded is there, and in order
	for _, file := range files {
		text, _ := source.ReadFile("native/" + file.Name())
		_, _ = sum.Write(text)
	}
	return "postern-" + envoy + "-" + hex.EncodeToString(sum.Sum(nil))[:12] + ".so"
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
