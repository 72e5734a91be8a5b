package parameters_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postern-proxy/postern/envoy/envoytest"
	"github.com/postern-proxy/postern/test/fake/aws"
	"github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) {
	gate.Main(func() int {
		defer aws.Stop()
		return m.Run()
	}, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

const patience = 30 * time.Second

var environments atomic.Int64

// office is where an operator works: an environment of its own in the emulator and a
// folder of files.
type office struct {
	t      *testing.T
	aws    *aws.Server
	env    string
	folder string
	more   []string // variables of the commands: "NAME=value"
	picky  *envoytest.Picky
}

func newOffice(t *testing.T) *office {
	t.Helper()
	return &office{t: t, aws: aws.Start(t), env: fmt.Sprintf("env%d", environments.Add(1)), folder: t.TempDir()}
}

// file writes a file and gives its path.
func (o *office) file(name, text string) string {
	o.t.Helper()
	path := filepath.Join(o.folder, name)
	require.NoError(o.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// result is how a command ended.
type result struct {
	out, err string
	code     int
}

// run runs a postern command on the office's environment.
func (o *office) run(args ...string) result {
	o.t.Helper()
	return o.postern(append(args, "--env", o.env)...)
}

// postern runs any postern command.
func (o *office) postern(args ...string) result {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, gate.Binary(o.t), args...)
	cmd.Env, cmd.Dir = slices.Concat(gate.Environment(o.t), o.aws.Environment(), o.more), o.folder
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(o.t, err)
	}
	require.NoError(o.t, ctx.Err(), "postern %s does not end:\n%s%s", strings.Join(args, " "), &out, &errs)
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// good runs a command that must succeed.
func (o *office) good(args ...string) result {
	o.t.Helper()
	r := o.run(args...)
	require.Zero(o.t, r.code, "postern %s:\n%s%s", strings.Join(args, " "), r.out, r.err)
	return r
}

// bad runs a command that must fail in words.
func (o *office) bad(args ...string) result {
	o.t.Helper()
	r := o.run(args...)
	require.Equal(o.t, 1, r.code, "postern %s:\n%s%s", strings.Join(args, " "), r.out, r.err)
	require.NotContains(o.t, r.err, "goroutine ")
	return r
}

// pair are two providers that can be told apart, and a document that splits a model
// between them.
type pair struct {
	a, b    *openai.Server
	address string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{a: openai.Start(t), b: openai.Start(t), address: gate.FreeAddress(t)}
	p.a.Always(openai.Behavior{Content: "from a"})
	p.b.Always(openai.Behavior{Content: "from b"})
	return p
}

func (p *pair) document(a, b int) string {
	return fmt.Sprintf(`# Split between two.
listen: {address: %q}
providers:
  a: {schema: openai, url: "%s/v1", key: "ssm:a"}
  b: {schema: openai, url: "%s/v1"}
models:
  # the one that counts
  m:
    route:
      - [{provider: a, weight: %d}, {provider: b, weight: %d}]   # by weight
  other: {route: [[{provider: a}]]}
`, p.address, p.a.URL(), p.b.URL(), a, b)
}
