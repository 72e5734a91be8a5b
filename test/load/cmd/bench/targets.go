package main

import (
	"bytes"
	"context"
	_ "embed" // for the configurations
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"text/template"
	"time"

	"github.com/postern-proxy/postern/test/load"
)

// The names in the request's body.
const (
	model         = "bench"
	modelToChange = "bench-understood" // its entry asks for a system text
)

const chatPath = "/v1/chat/completions"

// startLimit is how long anything may take to be ready.
const startLimit = 60 * time.Second

//go:embed envoy.yaml.tmpl
var envoyTemplate string

// places are the values of the templates.
type places struct {
	Listen, Upstream         string // host:port
	ListenPort, UpstreamPort string
	Folder                   string // for sockets
	Failing, Silent          string // host:port of providers that are out of order
	Bedrock                  string // host:port of the fake of Bedrock
}

// startSelf starts this program again as one of its parts, and gives the line that
// the part says once it is ready.
func (l *laboratory) startSelf(ctx context.Context, name string, arguments ...string) (*child, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(self, arguments...)
	if _, err := cmd.StdinPipe(); err != nil { // it ends when this ends
		return nil, "", err
	}
	said := &firstLine{line: make(chan string, 1)}
	cmd.Stdout = said
	c, err := l.start(name, cmd)
	if err != nil {
		return nil, "", err
	}
	select {
	case line := <-said.line:
		return c, line, nil
	case <-c.ended:
		return nil, "", fmt.Errorf("%s does not start", name)
	case <-ctx.Done():
		return nil, "", context.Cause(ctx)
	}
}

// roles are the processes of a target, the mock provider's with them.
func (l *laboratory) roles(more map[string][]int) map[string][]int {
	roles := map[string][]int{load.RoleUpstream: append([]int{l.mock.pid()}, l.upstreams...)}
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
	target := load.Target{URL: "http://" + address + chatPath, Model: model, Roles: l.roles(map[string][]int{roleEnvoy: {c.pid()}})}
	return target, c.until(ctx, func(ctx context.Context) bool { return works(ctx, target) })
}

// configure fills a template for a free address, which it gives.
func (l *laboratory) configure(name, text string) (address string, err error) {
	if address, err = freeAddress(); err != nil {
		return "", err
	}
	p := places{Listen: address, Upstream: l.mockAt, Folder: l.folder, Failing: l.failing, Silent: l.silent, Bedrock: l.bedrock}
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
