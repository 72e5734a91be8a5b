package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/config"
)

// greet prints the address, the development key and a line to paste.
func (g *gate) greet(out io.Writer) error {
	key, err := g.signer.Load().Development(g.data, time.Now())
	if err != nil {
		return err
	}
	cfg := g.config.Load()
	url, model := baseURL(cfg.Listen), firstModel(cfg)
	insecure := ""
	if cfg.Listen.TLS != nil {
		insecure = "-k "
	}
	_, err = fmt.Fprintf(out, `
Postern is open at %[1]s

  key    %[2]s
         (also in %[3]s)
  model  %[4]s

Try it:

  curl %[5]s%[1]s/v1/chat/completions -H "Authorization: Bearer %[2]s" -H "Content-Type: application/json" -d %[7]s

An OpenAI client needs two lines: base_url="%[1]s/v1" and api_key="%[2]s".
Edit %[6]s while it runs; Ctrl-C stops it.

`, url, key, access.DevelopmentPath(g.data), model, insecure, g.source.name, firstBody(model))
	return err
}

// firstBody is the body of the example line, as one word of a shell: a model may be
// called anything.
func firstBody(model string) string {
	name, _ := json.Marshal(model) //nolint:errchkjson // a text always has a JSON form
	body := fmt.Sprintf(`{"model": %s, "messages": [{"role": "user", "content": "Hello!"}]}`, name)
	return "'" + strings.ReplaceAll(body, "'", `'\''`) + "'"
}

// firstModel is the model of the example line: one that works here and now.
func firstModel(cfg *config.Config) string {
	const known = "gpt-4o-mini" // what the pattern * is tried with
	if _, m, ok := cfg.Match(known); ok && len(m.UsableRoute(cfg.Providers)) > 0 {
		return known
	}
	for _, name := range usableModels(cfg) {
		return name
	}
	return known
}
