package main

import (
	"context"
	_ "embed" // for the configuration
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/load"
)

// The configurations: one whose models are all native, and one with a model beside
// it whose requests Go changes.
var (
	//go:embed native.yaml.tmpl
	nativeTemplate string
	//go:embed postern.yaml.tmpl
	posternTemplate string
)

// providerKey is the mock provider's, by its reference in the configuration.
const providerKey = "BENCH_PROVIDER_KEY"

// noKeys is enough where only routes are read.
const noKeys = `{"keys":[]}`

// shared is a Postern that several lanes share.
type shared struct {
	target    load.Target // without a name and a way
	admin     string      // its Envoy's socket
	process   string      // its ext_proc service's
	pid       int
	threshold int // the largest body in bytes whose model Envoy reads
}

// native is Postern with everything a request needs no Go for: a signed key, the
// model from the body, a limit, the provider's credential. Larger bodies have no
// such lane.
func (l *laboratory) native(ctx context.Context) (load.Target, error) {
	return l.nativeOf(ctx, "native.yaml", nativeTemplate)
}

// beside is the same where another model of the configuration is understood: then
// every request meets the filter that reads bodies, which lets it pass.
func (l *laboratory) beside(ctx context.Context) (load.Target, error) {
	return l.nativeOf(ctx, "postern.yaml", posternTemplate)
}

// unmetered is native without the access log and the reading of tokens.
func (l *laboratory) unmetered(ctx context.Context) (load.Target, error) {
	return l.nativeOf(ctx, "unmetered.yaml", nativeTemplate, "--unmetered")
}

// script is native with the tokens of answers read by a script in place of the module.
func (l *laboratory) script(ctx context.Context) (load.Target, error) {
	return l.nativeOf(ctx, "script.yaml", nativeTemplate, "--reader", "script")
}

func (l *laboratory) nativeOf(ctx context.Context, name, template string, more ...string) (load.Target, error) {
	g, err := l.postern(ctx, name, template, more...)
	if err != nil {
		return load.Target{}, err
	}
	target := g.target
	target.Largest = g.threshold
	target.Check = way{admin: g.admin, passes: always(throughEnvoy)}.check
	return target, nil
}

// found is the same model, whose name Go finds. Small bodies go this way if their
// length is not said before; large ones always do.
func (l *laboratory) found(ctx context.Context) (load.Target, error) {
	g, err := l.postern(ctx, "postern.yaml", posternTemplate)
	if err != nil {
		return load.Target{}, err
	}
	target := g.target
	target.ChunkedUpTo = g.threshold
	target.Check = way{admin: g.admin, passes: always(throughFind)}.check
	return target, nil
}

// understood is a model whose requests Go changes. A large body's name is found by Go
// before.
func (l *laboratory) understood(ctx context.Context) (load.Target, error) {
	g, err := l.postern(ctx, "postern.yaml", posternTemplate)
	if err != nil {
		return load.Target{}, err
	}
	target := g.target
	target.Model = modelToChange
	target.Check = way{admin: g.admin, passes: func(size int) []string {
		if size > g.threshold {
			return []string{throughFind, throughUnderstand}
		}
		return []string{throughEnvoy, throughUnderstand}
	}}.check
	return target, nil
}

// postern starts Postern, unless a lane before has done so.
func (l *laboratory) postern(ctx context.Context, name, template string, more ...string) (*shared, error) {
	if g := l.gates[name]; g != nil {
		return g, nil
	}
	address, err := l.configure(name, template)
	if err != nil {
		return nil, err
	}
	compiled, err := l.compile(name, []byte(noKeys), "")
	if err != nil {
		return nil, err
	}
	g := &shared{target: load.Target{URL: "http://" + address + chatPath, Model: model}}
	if g.threshold, err = threshold(compiled); err != nil {
		return nil, err
	}
	data := l.file("data-" + name)
	args := append([]string{"run", "--config", l.file(name), "--data", data, "--metrics", ""}, more...)
	cmd := exec.Command(l.settings.postern, args...)
	cmd.Env = append(os.Environ(), providerKey+"=sk-bench", "ENVOY="+l.envoy,
		"AWS_ACCESS_KEY_ID="+fake.Test.ID, "AWS_SECRET_ACCESS_KEY="+fake.Test.Secret, "AWS_SESSION_TOKEN="+fake.Test.Token, "AWS_EC2_METADATA_DISABLED=true")
	c, err := l.start("Postern ("+name+")", cmd)
	if err != nil {
		return nil, err
	}
	if err := c.until(ctx, func(ctx context.Context) bool {
		// The key is written once the gate is ready, so that /readyz alone says too little.
		key, err := os.ReadFile(filepath.Join(data, "keys", "development.key"))
		g.target.Header = bearer(strings.TrimSpace(string(key)))
		return err == nil && answers(ctx, "http://"+address+"/readyz") && works(ctx, g.target)
	}); err != nil {
		return nil, err
	}
	sockets, err := os.ReadFile(filepath.Join(data, "run", "folder"))
	if err != nil {
		return nil, err
	}
	g.pid = c.pid()
	g.admin, g.process = filepath.Join(string(sockets), "admin.sock"), filepath.Join(string(sockets), "process.sock")
	children, err := load.Processes{}.Descendants(c.pid())
	if err != nil {
		return nil, err
	}
	if len(children) == 0 {
		return nil, errors.New("Postern answers, but has no Envoy among its children") //nolint:staticcheck // a name
	}
	ours, theirs, err := apart(children, g.pid)
	if err != nil {
		return nil, err
	}
	g.target.Roles = l.roles(map[string][]int{roleGo: append(ours, g.pid), roleEnvoy: theirs})
	if l.gates == nil {
		l.gates = map[string]*shared{}
	}
	l.gates[name] = g
	return g, nil
}

// apart tells Postern's own processes, which have the name of the first, from Envoy's.
func apart(children []int, first int) (ours, theirs []int, err error) {
	own, err := load.Processes{}.Stat(first)
	if err != nil {
		return nil, nil, err
	}
	for _, pid := range children {
		stat, err := load.Processes{}.Stat(pid)
		switch {
		case err != nil:
			return nil, nil, err
		case stat.Name == own.Name:
			ours = append(ours, pid)
		default:
			theirs = append(theirs, pid)
		}
	}
	return ours, theirs, nil
}

func bearer(token string) map[string]string {
	return map[string]string{"authorization": "Bearer " + token}
}
