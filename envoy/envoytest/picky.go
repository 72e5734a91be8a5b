package envoytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Picky is the real Envoy but for one thing: asked to validate a configuration that has a
// text in it, it refuses. Where Envoy's opinion counts there must be something that
// Postern takes and Envoy does not, and none is known.
type Picky struct {
	Path string // of the program, for the variable ENVOY
}

// NewPicky builds one that refuses nothing yet.
func NewPicky(tb testing.TB) *Picky {
	tb.Helper()
	folder := tb.TempDir()
	p := &Picky{Path: filepath.Join(folder, "envoy")}
	p.Refuse(tb, "")
	source := filepath.Join(folder, "main.go")
	if err := os.WriteFile(source, []byte(picky), 0o600); err != nil {
		tb.Fatal(err)
	}
	//nolint:gosec // its own source
	build := exec.CommandContext(tb.Context(), "go", "build", "-ldflags", "-X main.real="+Binary(tb), "-o", p.Path, source)
	if printed, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, printed)
	}
	return p
}

// Refuse has it refuse what has a text in it from now on; "" is nothing.
func (p *Picky) Refuse(tb testing.TB, text string) {
	tb.Helper()
	if err := os.WriteFile(p.Path+".refuses", []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// picky is the program. A script is not taken for Envoy.
const picky = `package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"syscall"
)

var real string

func main() {
	refused, _ := os.ReadFile(os.Args[0] + ".refuses")
	if i := slices.Index(os.Args, "-c"); i > 0 && slices.Contains(os.Args, "validate") {
		if text, _ := os.ReadFile(os.Args[i+1]); len(refused) > 0 && bytes.Contains(text, refused) {
			fmt.Println("error: it is not taken here")
			os.Exit(1)
		}
	}
	fmt.Println(syscall.Exec(real, os.Args, os.Environ()))
	os.Exit(1)
}
`
