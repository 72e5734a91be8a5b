package aws

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-proxy/postern/test/need"
)

var emulator struct {
	sync.Mutex
	cmd    *exec.Cmd
	url    string
	output bytes.Buffer
}

// moto starts the emulator, once, and gives its address.
func moto(t testing.TB) string {
	t.Helper()
	emulator.Lock()
	defer emulator.Unlock()
	if emulator.url != "" {
		return emulator.url
	}
	python := findPython(t)
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	// A program of our own instead of moto_server: on request the emulator answers
	// with one line a request on a pipe that nobody reads.
	cmd := exec.Command(python, "-c", program, port)
	cmd.Stdout, cmd.Stderr = &emulator.output, &emulator.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	emulator.cmd, emulator.url = cmd, "http://"+address
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		if response, err := http.Get(emulator.url + "/moto-api/"); err == nil {
			response.Body.Close()
			return emulator.url
		}
		time.Sleep(50 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	t.Fatalf("the AWS emulator did not start:\n%s", emulator.output.String())
	return ""
}

// program is the emulator: threads, no log of requests.
const program = `
import logging, sys
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=True)
`

// Stop ends the emulator, if it runs; for TestMain.
func Stop() {
	emulator.Lock()
	defer emulator.Unlock()
	if emulator.cmd != nil {
		_ = emulator.cmd.Process.Kill()
		_ = emulator.cmd.Wait()
		emulator.cmd, emulator.url = nil, ""
	}
}

// findPython is a python that has moto: PYTHON, or the one that make setup installed.
// Without it the test is skipped, except where CI=true says that everything is there.
func findPython(t testing.TB) string {
	t.Helper()
	return need.Python(t, root(t), "moto, flask, flask_cors")
}

// root is the repository's folder.
func root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("not inside the repository")
		}
		folder = parent
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
