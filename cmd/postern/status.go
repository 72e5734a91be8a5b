package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/ssm"
	"github.com/postern-proxy/postern/usage/price"
	"github.com/postern-proxy/postern/xds"
)

// report is what a running gate says of itself.
type report struct {
	Started   time.Time  `json:"started"`
	Version   string     `json:"version"`              // the configuration in use
	LastError string     `json:"last_error,omitempty"` // why the last change was not taken
	Sidecar   string     `json:"sidecar,omitempty"`    // the cluster of the Envoy that it serves; empty: a gate
	Envoy     xds.Status `json:"envoy"`                // nobody where it is a sidecar: the control plane knows

	Parts []partReport `json:"parts,omitempty"` // who is there, and of which version

	Parameters *ssm.Status `json:"parameters,omitempty"` // of AWS Parameter Store, if that is the source

	Providers []providerReport    `json:"providers"`         // each provider, and below it its models
	Order     map[string][]string `json:"order,omitempty"`   // of models whose groups are not tried as configured: the providers of each group
	Log       logReport           `json:"log"`               // of the access log, from which all is known
	Metrics   string              `json:"metrics,omitempty"` // their address; empty: there are none

	Warnings []string `json:"warnings,omitempty"`

	Second *secondReport `json:"second,omitempty"` // the second process of the service that reads bodies
}

func (g *gate) serveStatus(w http.ResponseWriter, request *http.Request) {
	cfg := g.config.Load()
	r := reportOf(g.started, cfg, g.source, g.lastError.Load(), g.meters)
	r.Envoy, r.Parts = g.xds.Status(), g.reportParts(request.Context())
	r.Providers, r.Order = g.meters.reportProviders(g.probes.of(cfg)), g.reportOrder(cfg)
	r.Second = g.reportSecond()
	r.write(w)
}

// reportOf is what gates and sidecars say alike.
func reportOf(started time.Time, cfg *config.Config, from *source, last *string, m *meters) report {
	r := report{Started: started, Version: cfg.Version}
	if last != nil {
		r.LastError = *last
	}
	if from.status != nil {
		r.Parameters = from.status()
	}
	for _, warning := range cfg.Warnings() {
		r.Warnings = append(r.Warnings, warning.Path+": "+warning.Message)
	}
	if old := oldPrices(time.Now()); old != "" {
		r.Warnings = append(r.Warnings, old)
	}
	r.Log, r.Metrics = logReportOf(m.gap.Gap(), m.trouble()), m.address
	return r
}

func (r report) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(r) //nolint:errchkjson // the reader went away, or not: nothing to do
}

// pricesLast is how long a table of prices is taken for what vendors ask.
const pricesLast = 180 * 24 * time.Hour

// oldPrices is a warning about Postern's own prices; empty while they are young.
func oldPrices(now time.Time) string {
	date, err := price.Date()
	if err != nil || now.Sub(date) < pricesLast {
		return ""
	}
	return "prices: Postern's own are of " + date.Format(time.DateOnly) + ": compare them, what the configuration says stands over them"
}

func statusCommand() *cobra.Command {
	var at place
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the running gate is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := askStatus(cmd.Context(), at.data)
			if err != nil {
				return err
			}
			if asJSON {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(r); err != nil {
					return err
				}
			} else {
				printStatus(cmd.OutOrStdout(), r)
			}
			unread := r.Parameters != nil && r.Parameters.Error != ""
			if r.LastError != "" || unread || r.Envoy.Refused() != nil {
				return told{errors.New("not all is well")}
			}
			return nil
		},
	}
	at.addDataTo(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func askStatus(ctx context.Context, data string) (report, error) {
	var r report
	return r, ask(ctx, data, "/status", &r)
}

// ask has the gate of a data folder answer a question of Postern's own commands.
func ask(ctx context.Context, data, path string, answer any) error {
	absent := fmt.Errorf("no postern runs with the data folder %s", data)
	folder, err := os.ReadFile(folderNote(data))
	if err != nil {
		return absent
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(string(folder), "status.sock"))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://postern"+path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return absent
	}
	defer response.Body.Close()
	return json.NewDecoder(io.LimitReader(response.Body, 8<<20)).Decode(answer)
}

func printStatus(out io.Writer, r report) {
	fmt.Fprintf(out, "configuration  %s, up %s\n", r.Version, time.Since(r.Started).Round(time.Second))
	if r.LastError != "" {
		fmt.Fprintf(out, "last change    refused: %s\n", r.LastError)
	}
	printParts(out, r.Parts)
	printParameters(out, r.Parameters)
	if r.Sidecar != "" {
		fmt.Fprintf(out, "sidecar        of an Envoy of the cluster %s\n", r.Sidecar)
	} else {
		printEnvoys(out, r.Envoy)
		printSecond(out, r.Second)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(out, "warning        %s\n", warning)
	}
	printMetrics(out, r, time.Now())
	printProviders(out, r, time.Now())
}

// printEnvoys says how the Envoys are: one in a line, a fleet as a table.
func printEnvoys(out io.Writer, s xds.Status) {
	switch {
	case len(s.Envoys)+len(s.Gone) > 1:
		fmt.Fprint(out, s.Table(time.Now()))
		return
	case len(s.Envoys) == 0:
		fmt.Fprintln(out, "envoy          none is connected")
	}
	for _, e := range s.Envoys {
		fmt.Fprintf(out, "envoy          %s, connected %s, routes %s\n",
			e.Node, time.Since(e.Since).Round(time.Second), e.Accepted["RouteConfiguration"])
		for _, refusal := range e.Refused {
			fmt.Fprintf(out, "  refused by Envoy  %s %s: %s\n", refusal.Type, refusal.Version, refusal.Reason)
		}
	}
}
