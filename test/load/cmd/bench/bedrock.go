package main

import (
	"context"
	_ "embed" // for the configuration
	"flag"
	"fmt"
	"strings"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/load"
)

//go:embed bedrock.yaml.tmpl
var bedrockTemplate string

// The model ids of the fake, of which the second says more.
const (
	haiku  = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
	sonnet = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
)

// The ways of requests by the filters that Bedrock needs, and what attempts count, whose
// filters are a cluster's.
const (
	throughPick    = throughUnderstand
	throughRequest = "ext_proc.bedrock.streams_started"
	throughAnswer  = "ext_proc.answer.streams_started"
)

// besideBedrock makes a row of the gate that has Bedrock beside the mock provider. Its
// native lane is what the others are compared with.
func besideBedrock(model string, events int, ways ...string) func(*laboratory, context.Context) (load.Target, error) {
	return func(l *laboratory, ctx context.Context) (load.Target, error) {
		if l.bedrock == "" {
			c, address, err := l.startSelf(ctx, "fake Bedrock", "bedrock")
			if err != nil {
				return load.Target{}, err
			}
			l.bedrock, l.upstreams = address, append(l.upstreams, c.pid())
		}
		g, err := l.postern(ctx, "bedrock.yaml", bedrockTemplate)
		if err != nil {
			return load.Target{}, err
		}
		target := g.target
		target.Model, target.Events = model, events
		target.Check = way{admin: g.admin, passes: always(append([]string{throughEnvoy}, ways...)...)}.check
		return target, nil
	}
}

// bedrock is the process of the fake, which checks each signature. Its answers are as
// long as the mock provider's once they are in OpenAI's form. It ends when its standard
// input does.
func bedrock(ctx context.Context, arguments []string) error {
	if err := flag.NewFlagSet("bench bedrock", flag.ContinueOnError).Parse(arguments); err != nil {
		return err
	}
	server, err := fake.New()
	if err != nil {
		return err
	}
	defer server.Close()
	for model, events := range map[string]int{haiku: load.StreamEvents, sonnet: load.LongEvents} {
		server.ForModel(model, fake.Behavior{Content: saidIn(events - 4), Pieces: events - 4})
	}
	fmt.Println(server.Address())
	<-untilOrphan(ctx).Done()
	return nil
}

// saidIn is a text of n words: about the mock provider's, so that a plain answer is no
// shorter than its.
func saidIn(n int) string {
	const word = "The-parcel-left-the-house-0123456789 "
	return strings.TrimSpace(strings.Repeat(word, n))
}
