package parameters_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/test/fake/aws"
	"github.com/postern-proxy/postern/test/gate"
)

// poll is how often the gates here look; interval the longest until a change is seen.
const (
	poll     = time.Second
	interval = poll + 2*time.Second
)

// gate starts a gate that follows the office's environment.
func (o *office) gate(p *pair, data string) *gate.Gate {
	o.t.Helper()
	return gate.Start(o.t, gate.Settings{
		Address: p.address, Data: data, Env: o.aws.Environment(),
		Args: []string{"--source", "ssm", "--env", o.env, "--poll", poll.String()},
	})
}

// load is requests without a pause, and what became of them.
type load struct {
	fromA, fromB atomic.Int64
	failed       atomic.Pointer[string]
	stop         context.CancelFunc
	wait         sync.WaitGroup
}

func startLoad(t *testing.T, g *gate.Gate) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop}
	transport := &http.Transport{}
	client := &http.Client{Transport: transport, Timeout: patience}
	for range 4 {
		l.wait.Go(func() {
			for ctx.Err() == nil {
				l.one(client, g)
			}
		})
	}
	t.Cleanup(func() {
		l.end(t)
		transport.CloseIdleConnections()
	})
	return l
}

func (l *load) one(client *http.Client, g *gate.Gate) {
	response, err := g.Send(context.Background(), client, "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"hello"}]}`)
	if err != nil {
		text := err.Error()
		l.failed.CompareAndSwap(nil, &text)
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil || response.StatusCode != http.StatusOK:
		text := fmt.Sprint(response.StatusCode, err, string(body))
		l.failed.CompareAndSwap(nil, &text)
	case strings.Contains(string(body), "from a"):
		l.fromA.Add(1)
	case strings.Contains(string(body), "from b"):
		l.fromB.Add(1)
	}
}

func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.wait.Wait()
	if failed := l.failed.Load(); failed != nil {
		assert.Fail(t, "a request failed", *failed)
	}
}

// only waits until one provider alone answers.
func (l *load) only(t *testing.T, loser *atomic.Int64, within time.Duration) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		before, all := loser.Load(), l.fromA.Load()+l.fromB.Load()
		require.Eventually(t, func() bool { return l.fromA.Load()+l.fromB.Load() > all+20 }, patience, 5*time.Millisecond)
		if loser.Load() == before {
			return
		}
		require.True(t, time.Now().Before(deadline), "the split did not follow within %s", within)
	}
}

// both waits until both answer.
func (l *load) both(t *testing.T, within time.Duration) {
	t.Helper()
	a, b := l.fromA.Load(), l.fromB.Load()
	require.Eventually(t, func() bool { return l.fromA.Load() > a+5 && l.fromB.Load() > b+5 }, within, 10*time.Millisecond)
}

// scrape reads the gate's metrics.
func scrape(t *testing.T, g *gate.Gate) string {
	t.Helper()
	response, err := gate.Client().Get("http://" + g.Metrics + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(text)
}

// status is what the gate says of itself.
func (o *office) status(g *gate.Gate) result { return o.postern("status", "--data", g.Data) }

func TestWeightsMoveTrafficAndARollbackMovesItBack(t *testing.T) {
	o, p := newOffice(t), newPair(t)
	o.aws.Put(t, "/postern/"+o.env+"/secrets/a", "sk-first", true)
	o.good("config", "push", o.file("postern.yaml", p.document(50, 50)))
	g := o.gate(p, "")
	assert.Contains(t, g.Output(), "/postern/"+o.env+" in Parameter Store")
	l := startLoad(t, g)
	l.both(t, patience)

	o.good("traffic", "set", "m", "a=0", "b=100")
	l.only(t, &l.fromA, interval)
	assert.Equal(t, 0, o.status(g).code, o.status(g).out)

	// A push that is wrong changes nothing, and the command says why.
	r := o.bad("config", "push", o.file("bad.yaml", strings.Replace(p.document(50, 50), "provider: b", "provider: c", 1)))
	assert.Contains(t, r.err, `there is no provider "c"`)
	// Neither does what is written past the command: the gate says why.
	o.aws.Put(t, "/postern/"+o.env+"/active", `{"postern":1,"set":"000009-abcdef","change":9,"last":9}`, false)
	require.True(t, g.WaitOutput("there is no such set", interval), g.Output())
	r = o.status(g)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.out, "/postern/"+o.env+"/sets/000009-abcdef: there is no such set")
	assert.Contains(t, r.out, "wanted       000009-abcdef")
	metrics := scrape(t, g)
	assert.Contains(t, metrics, `postern_configuration_refused{place="/postern/`+o.env+`/sets/000009-abcdef"} 1`)
	assert.Contains(t, metrics, `set="000002-`)
	l.only(t, &l.fromA, interval)

	o.good("config", "rollback", "1")
	l.both(t, interval)
	require.Eventually(t, func() bool { return o.status(g).code == 0 }, interval, 100*time.Millisecond)
	history, _, _ := strings.Cut(o.good("config", "history").out, "\n")
	assert.Contains(t, history, "rollback")
	assert.Contains(t, history, "arn:aws:sts::123456789012:user/moto")
	l.end(t)
}

func TestASecretIsRotatedWithoutARestart(t *testing.T) {
	o, p := newOffice(t), newPair(t)
	o.aws.Put(t, "/postern/"+o.env+"/secrets/a", "sk-first", true)
	o.good("config", "push", o.file("postern.yaml", p.document(100, 0)))
	g := o.gate(p, "")
	l := startLoad(t, g)
	l.only(t, &l.fromB, patience)
	require.Equal(t, "Bearer sk-first", p.a.Last().Header.Get("Authorization"))
	o.aws.Put(t, "/postern/"+o.env+"/secrets/a", "sk-second", true)
	require.Eventually(t, func() bool {
		return p.a.Last().Header.Get("Authorization") == "Bearer sk-second"
	}, interval, 10*time.Millisecond)
	l.end(t)
	folder, err := os.ReadFile(filepath.Join(g.Data, "run", "folder"))
	require.NoError(t, err)
	dump, err := envoy.Admin{Socket: filepath.Join(string(folder), "admin.sock")}.ConfigDump(t.Context(), "")
	require.NoError(t, err)
	require.Contains(t, string(dump), "dynamic_active_secrets", "the dump is whole")
	for _, text := range []string{g.Output(), g.EnvoyLog(), o.status(g).out, o.good("config", "show").out, string(dump)} {
		assert.NotContains(t, text, "sk-first")
		assert.NotContains(t, text, "sk-second")
	}
}

// Groups change their order as weights do: within the interval, and no request fails.
func TestAnOrderMovesTraffic(t *testing.T) {
	o, p := newOffice(t), newPair(t)
	o.aws.Put(t, "/postern/"+o.env+"/secrets/a", "sk-first", true)
	o.good("config", "push", o.file("postern.yaml", strings.Replace(p.document(1, 1),
		"[{provider: a, weight: 1}, {provider: b, weight: 1}]", "[{provider: a}]\n      - [{provider: b}]", 1)))
	g := o.gate(p, "")
	l := startLoad(t, g)
	l.only(t, &l.fromB, patience)
	o.good("traffic", "order", "m", "2", "1")
	l.only(t, &l.fromA, interval)
	o.good("config", "rollback")
	l.only(t, &l.fromB, interval)
	l.end(t)
}

func TestAGateOutlivesParameterStore(t *testing.T) {
	o, p := newOffice(t), newPair(t)
	o.aws.Put(t, "/postern/"+o.env+"/secrets/a", "sk-first", true)
	o.good("config", "push", o.file("postern.yaml", p.document(100, 0)))
	data := t.TempDir()
	g := o.gate(p, data)
	l := startLoad(t, g)
	l.only(t, &l.fromB, patience)
	o.aws.Fail(aws.Fault{Kind: aws.Cut})
	require.True(t, g.WaitOutput("Parameter Store cannot be reached", patience))
	l.only(t, &l.fromB, patience)
	l.end(t)
	g.Interrupt()
	g.Wait(t, patience)

	// Started without it: the last good set, its secrets too.
	again := o.gate(p, data)
	l = startLoad(t, again)
	l.only(t, &l.fromB, patience)
	assert.Equal(t, "Bearer sk-first", p.a.Last().Header.Get("Authorization"))
	r := o.status(again)
	assert.Contains(t, r.out, "from the local copy")
	assert.Contains(t, r.out, "/postern/"+o.env+"/active: Parameter Store cannot be reached")

	o.aws.Clear()
	o.good("traffic", "set", "m", "a=0", "b=1")
	l.only(t, &l.fromA, patience)
	require.Eventually(t, func() bool { return o.status(again).code == 0 }, interval, 100*time.Millisecond)
	l.end(t)
}

// A file's own ssm: secrets are found and rotated too.
func TestAFileMayHaveSecretsInParameterStore(t *testing.T) {
	o, p := newOffice(t), newPair(t)
	o.aws.Put(t, "/postern/"+o.env+"/secrets/a", "sk-first", true)
	g := gate.Start(t, gate.Settings{
		Address: p.address, Config: p.document(100, 0), Env: o.aws.Environment(),
		Args: []string{"--env", o.env, "--poll", poll.String()},
	})
	_, body := g.Chat(t.Context(), t, "m")
	assert.Contains(t, body, "from a")
	assert.Equal(t, "Bearer sk-first", p.a.Last().Header.Get("Authorization"))
	o.aws.Put(t, "/postern/"+o.env+"/secrets/a", "sk-second", true)
	require.Eventually(t, func() bool {
		g.Chat(t.Context(), t, "m")
		return p.a.Last().Header.Get("Authorization") == "Bearer sk-second"
	}, interval, 50*time.Millisecond)
}

func TestAStartWithoutParameterStoreAndWithoutACopySaysWhy(t *testing.T) {
	o := newOffice(t)
	o.aws.Fail(aws.Fault{Kind: aws.Deny})
	r := o.run("run", "--source", "ssm", "--data", t.TempDir())
	assert.Equal(t, 1, r.code)
	assert.Equal(t, "postern: /postern/"+o.env+"/active: access is denied (AccessDeniedException)\n", r.err)
	assert.Contains(t, o.postern("run", "--source", "ssm").err, "the environment is missing")
	assert.Contains(t, o.run("run", "--source", "s3").err, "--source is file or ssm")
}
