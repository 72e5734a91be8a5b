package main

import (
	"bytes"
	"context"
	_ "embed" // for the configurations
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/postern-proxy/postern/test/load"
)

// model is the name in the request's body.
const model = "bench"

const chatPath = "/v1/chat/completions"

// startLimit is how long anything may take to be ready.
const startLimit = 60 * time.Second

//go:embed envoy.yaml.tmpl
var envoyTemplate string

//go:embed postern.yaml.tmpl
var posternTemplate string

// places are the values of the templates.
type places struct {
	Listen, Upstream         string // host:port
	ListenPort, UpstreamPort string
}

// startMock starts this program again as the mock provider.
func (l *laboratory) startMock(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "upstream", "--together", fmt.Sprint(l.settings.together))
	if _, err := cmd.StdinPipe(); err != nil { // it ends when this ends
		return err
	}
	address := &firstLine{line: make(chan string, 1)}
	cmd.Stdout = address
	if l.mock, err = l.start("mock provider", cmd); err != nil {
		return err
	}
	select {
	case l.mockAt = <-address.line:
		return nil
	case <-l.mock.ended:
		return l.explain(errors.New("the mock provider does not start"))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// roles are the processes of a target, the mock provider's with them.
func (l *laboratory) roles(more map[string][]int) map[string][]int {
	roles := map[string][]int{load.RoleUpstream: {l.mock.pid()}}
	maps.Copy(roles, more)
	return roles
}

// direct asks the mock provider itself.
func (l *laboratory) direct(context.Context) (load.Target, error) {
	return load.Target{URL: "http://" + l.mockAt + chatPath, Model: model, Roles: l.roles(nil)}, nil
}

// envoyAlone is one Envoy that does nothing but pass on.
func (l *laboratory) envoyAlone(ctx context.Context) (load.Target, error) {
	address, err := l.configure("envoy.yaml", envoyTemplate)
	if err != nil {
		return load.Target{}, err
	}
	cmd := exec.Command(l.envoy, "-c", l.file("envoy.yaml"), "--disable-hot-restart", "--log-level", "warning")
	c, err := l.start("Envoy alone", cmd)
	if err != nil {
		return load.Target{}, err
	}
	target := load.Target{URL: "http://" + address + chatPath, Model: model, Roles: l.roles(map[string][]int{"envoy": {c.pid()}})}
	return target, c.until(ctx, func(ctx context.Context) bool { return works(ctx, target) })
}

// native is Postern with everything a request needs no Go for: a signed key, the
// model from the body, a limit, the provider's credential.
func (l *laboratory) native(ctx context.Context) (load.Target, error) {
	address, err := l.configure("postern.yaml", posternTemplate)
	if err != nil {
		return load.Target{}, err
	}
	data := l.file("data")
	cmd := exec.Command(l.settings.postern, "run", "--config", l.file("postern.yaml"), "--data", data)
	cmd.Env = append(os.Environ(), "BENCH_PROVIDER_KEY=sk-bench", "ENVOY="+l.envoy)
	c, err := l.start("Postern", cmd)
	if err != nil {
		return load.Target{}, err
	}
	ask := load.Target{URL: "http://" + address + chatPath, Model: model}
	if err := c.until(ctx, func(ctx context.Context) bool {
		// The key is written once the gate is ready, so that /readyz alone says too little.
		key, err := os.ReadFile(filepath.Join(data, "keys", "development.key"))
		ask.Header = map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(key))}
		return err == nil && answers(ctx, "http://"+address+"/readyz") && works(ctx, ask)
	}); err != nil {
		return load.Target{}, err
	}
	children, err := load.Processes{}.Descendants(c.pid())
	if err != nil {
		return load.Target{}, err
	}
	if len(children) == 0 {
		return load.Target{}, errors.New("Postern answers, but has no Envoy among its children") //nolint:staticcheck // a name
	}
	ask.Roles = l.roles(map[string][]int{"postern": {c.pid()}, "envoy": children})
	return ask, nil
}

// configure fills a template for a free address, which it gives.
func (l *laboratory) configure(name, text string) (address string, err error) {
	if address, err = freeAddress(); err != nil {
		return "", err
	}
	p := places{Listen: address, Upstream: l.mockAt}
	if _, p.ListenPort, err = net.SplitHostPort(address); err != nil {
		return "", err
	}
	if _, p.UpstreamPort, err = net.SplitHostPort(l.mockAt); err != nil {
		return "", err
	}
	var out strings.Builder
	if err := template.Must(template.New(name).Parse(text)).Execute(&out, p); err != nil {
		return "", err
	}
	return address, os.WriteFile(l.file(name), []byte(out.String()), 0o600)
}

// freeAddress was free a moment ago, which is as good as it gets for a program that
// must be told its port.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// answers says whether a GET gives a 200.
func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	return err == nil && good(ctx, request)
}

// works says whether a target answers a small chat request with a 200.
func works(ctx context.Context, target load.Target) bool {
	body, err := load.Conversation(target.Model, load.SmallestBody, false)
	if err != nil {
		return false
	}
	request, err := http.NewRequest(http.MethodPost, target.URL, bytes.NewReader(body))
	if err != nil {
		return false
	}
	request.Header.Set("Content-Type", "application/json")
	for name, value := range target.Header {
		request.Header.Set(name, value)
	}
	return good(ctx, request)
}

func good(ctx context.Context, request *http.Request) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request.Close = true // no connection is left behind
	response, err := http.DefaultClient.Do(request.WithContext(ctx))
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
