package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/test/load"
	"github.com/postern-proxy/postern/xds"
)

// anyLength is more than any body has.
const anyLength = 1_000_000_000

// envoyReads is what Postern compiles to, but with Envoy reading the model of bodies
// of every size: a lane that Postern does not have for large ones.
func (l *laboratory) envoyReads(ctx context.Context) (load.Target, error) {
	return l.standalone(ctx, standalone{name: "anysize-envoy", end: anyLength, passes: throughEnvoy})
}

// goReads is the same with Go reading bodies of every size, small ones with a length
// before them too. Its ext_proc service is that of the Postern that the lanes share.
func (l *laboratory) goReads(ctx context.Context) (load.Target, error) {
	g, err := l.postern(ctx, "postern.yaml", posternTemplate)
	if err != nil {
		return load.Target{}, err
	}
	return l.standalone(ctx, standalone{name: "anysize-go", end: 0, process: g.process, passes: throughFind, also: []int{g.pid}})
}

// standalone is an Envoy that runs what Postern compiles to, from a file and without
// a control plane, so that bodies can be told apart by another length than Postern's.
type standalone struct {
	name    string // of its files
	end     int    // Envoy reads bodies shorter than this
	process string // the ext_proc service's socket; "" if it has none
	passes  string // the way of its requests
	also    []int  // processes of Go that work for it
}

func (l *laboratory) standalone(ctx context.Context, s standalone) (load.Target, error) {
	address, err := l.configure(s.name+".yaml", posternTemplate)
	if err != nil {
		return load.Target{}, err
	}
	signer, err := access.Open(l.file(s.name))
	if err != nil {
		return load.Target{}, err
	}
	key, err := signer.Mint(access.DevelopmentGrant(), time.Now())
	if err != nil {
		return load.Target{}, err
	}
	compiled, err := l.compile(s.name+".yaml", signer.JWKS(), s.process)
	if err != nil {
		return load.Target{}, err
	}
	if len(lengths(compiled)) == 0 {
		return load.Target{}, errNoThreshold
	}
	for _, limit := range lengths(compiled) {
		limit["end"] = strconv.Itoa(s.end)
	}
	admin, file := l.file(s.name+".sock"), l.file(s.name+".json")
	text, err := bootstrap(compiled, admin)
	if err != nil {
		return load.Target{}, err
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return load.Target{}, err
	}
	cmd := exec.Command(l.envoy, "-c", file, "--disable-hot-restart", "--log-level", "warning")
	c, err := l.start("Envoy "+s.name, cmd)
	if err != nil {
		return load.Target{}, err
	}
	roles := map[string][]int{roleEnvoy: {c.pid()}}
	if len(s.also) > 0 {
		roles[roleGo] = s.also
	}
	target := load.Target{
		URL: "http://" + address + chatPath, Model: model, Header: bearer(key.Token()), Roles: l.roles(roles),
		Check: way{admin: admin, passes: always(s.passes)}.check,
	}
	return target, c.until(ctx, func(ctx context.Context) bool { return works(ctx, target) })
}

// compile is the file that Envoy would validate for a configuration: keys of
// providers are not in it, which the mock provider does not mind.
func (l *laboratory) compile(name string, jwks []byte, process string) (map[string]any, error) {
	text, err := os.ReadFile(l.file(name))
	if err != nil {
		return nil, err
	}
	cfg, err := config.Parse(name, text, config.Env{Lookup: func(variable string) (string, bool) {
		return "sk-bench", variable == providerKey
	}})
	if err != nil {
		return nil, err
	}
	none := l.file("none.sock") // nothing listens, and no row needs it
	if process == "" {
		process = none
	}
	static, err := xds.Static(xds.Input{
		Config: cfg, JWKS: jwks,
		Sockets: xds.Sockets{Answer: none, Demo: none, Usage: none, Process: []string{process}},
	}, envoy.Runtime())
	if err != nil {
		return nil, err
	}
	var compiled map[string]any
	return compiled, json.Unmarshal(static, &compiled)
}

// bootstrap gives a compiled configuration the rest of Postern's bootstrap, but no
// control plane.
func bootstrap(compiled map[string]any, admin string) ([]byte, error) {
	text, err := envoy.Bootstrap(envoy.BootstrapSettings{
		NodeID: "bench", Cluster: "bench", AdminSocket: admin, XDSSocket: admin, // the latter is not used
	})
	if err != nil {
		return nil, err
	}
	var whole map[string]any
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, err
	}
	delete(whole, "dynamic_resources")
	whole["static_resources"] = compiled["static_resources"]
	return json.Marshal(whole)
}

var errNoThreshold = errors.New("no route of the compiled configuration looks at content-length: the bench must learn how bodies are told apart")

// threshold is the largest body, in bytes, whose model Envoy reads itself.
func threshold(compiled map[string]any) (int, error) {
	largest := 0
	for _, limit := range lengths(compiled) {
		var end int
		if _, err := fmt.Sscan(fmt.Sprint(limit["end"]), &end); err != nil { // int64 is text in JSON
			return 0, fmt.Errorf("a route's range of content-length: %w", err)
		}
		largest = max(largest, end-1)
	}
	if largest == 0 {
		return 0, errNoThreshold
	}
	return largest, nil
}

// lengths are the ranges of content-length that routes of small bodies match,
// anywhere in value: those that begin at 0.
func lengths(value any) []map[string]any {
	var found []map[string]any
	switch value := value.(type) {
	case []any:
		for _, v := range value {
			found = append(found, lengths(v)...)
		}
	case map[string]any:
		if limit, ok := value["range_match"].(map[string]any); ok && value["name"] == "content-length" && (limit["start"] == nil || limit["start"] == "0") {
			found = append(found, limit)
		}
		for _, v := range value {
			found = append(found, lengths(v)...)
		}
	}
	return found
}
