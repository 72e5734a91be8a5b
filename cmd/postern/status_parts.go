package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/postern-proxy/postern/envoy"
)

// partReport is one of the parts of a running gate.
type partReport struct {
	Part    string `json:"part"`
	Version string `json:"version,omitempty"` // of what is released on its own
	State   string `json:"state"`             // running, Envoy's own word, or missing
	Note    string `json:"note,omitempty"`    // what else is to be said, or why it is missing
}

// The states of a part beside Envoy's own.
const (
	partRuns    = "running"
	partMissing = "missing"
)

// partTimeout bounds the question whether a part is there.
const partTimeout = time.Second

// reportParts asks each part whether it is there. Who answers on a socket is ours: its
// folder is private.
func (g *gate) reportParts(ctx context.Context) []partReport {
	parts := []partReport{
		{Part: "postern", Version: ownVersion(), State: partRuns},
		reportEnvoy(ctx, envoy.Admin{Socket: g.sockets.admin}),
	}
	for _, s := range []struct{ part, socket, note string }{
		{"xds", g.sockets.xds, ""}, {"extproc", g.sockets.process, ""}, {"answer", g.sockets.answer, ""}, {"usage", g.sockets.usage, g.readBy()},
	} {
		parts = append(parts, reportSocket(ctx, s.part, s.socket, s.note))
	}
	for i, socket := range g.sockets.replicas {
		parts = append(parts, reportSocket(ctx, fmt.Sprintf("extproc %d", i+2), socket, "a replica"))
	}
	return parts
}

// byWhom begins the note of the part that is told what answers say.
const byWhom = "answers are read by "

// readBy says who reads the tokens of answers.
func (g *gate) readBy() string {
	switch {
	case g.unmetered:
		return byWhom + "nobody"
	case g.module != "":
		return byWhom + "the module"
	}
	return byWhom + "the script"
}

func reportEnvoy(ctx context.Context, admin envoy.Admin) partReport {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	info, err := admin.ServerInfo(ctx)
	if err != nil {
		return partReport{Part: "envoy", State: partMissing, Note: err.Error()}
	}
	return partReport{Part: "envoy", Version: info.Version, State: strings.ToLower(info.State)}
}

func reportSocket(ctx context.Context, part, socket, note string) partReport {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return partReport{Part: part, State: partMissing, Note: err.Error()}
	}
	_ = c.Close()
	return partReport{Part: part, State: partRuns, Note: note}
}

// ownVersion is the released one, or the commit that it was built from.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	version, changed := info.Main.Version, ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && (version == "" || version == "(devel)"):
			version = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ", changed"
		}
	}
	if strings.Contains(version, "+dirty") {
		changed = ""
	}
	return version + changed
}

// printParts prints what is there in few lines, and a line for each part that is not.
func printParts(out io.Writer, parts []partReport) {
	var versions, services, missing []string
	for _, p := range parts {
		switch {
		case p.State == partMissing:
			missing = append(missing, p.Part+": "+p.Note)
		case p.Part == "envoy":
			versions = append(versions, p.Part+" "+p.Version+" "+p.State)
		case p.Version != "":
			versions = append(versions, p.Part+" "+p.Version)
		default:
			services = append(services, p.Part)
		}
	}
	fmt.Fprintf(out, "parts          %s\n", strings.Join(versions, ", "))
	fmt.Fprintf(out, "services       %s\n", strings.Join(services, ", "))
	for _, p := range parts {
		if who, ok := strings.CutPrefix(p.Note, byWhom); ok {
			fmt.Fprintf(out, "answers        read by %s\n", who)
		}
	}
	for _, text := range missing {
		fmt.Fprintf(out, "missing        %s\n", text)
	}
}
