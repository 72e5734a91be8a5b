package bedrock_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/test/matrix"
)

// kinds are the forms of providers of both formats.
var kinds = map[string]matrix.Kind{
	"plain": {Provider: `schema: openai, url: "{{url}}/v1", key: "${{{ROLE}}_PLAIN}", headers: {x-{{role}}-plain: "yes"}`},
	"named": {
		Provider: `schema: openai, url: "{{url}}/{{role}}/base", key: "${{{ROLE}}_NAMED}"`, Target: `, model: a-much-longer-name-of-the-{{role}}`,
		Model: "a-much-longer-name-of-the-second", Asked: "/second/base/chat/completions?trace=a%2Fb",
	},
	"azure": {
		Provider: `schema: azure, url: "{{url}}", api_version: 2024-10-21, key: "${{{ROLE}}_AZURE}"`, Target: `, model: {{role}}-deployment`,
		Credential: "api-key", Model: "second-deployment",
		Asked: "/openai/deployments/second-deployment/chat/completions?api-version=2024-10-21",
	},
	"claude": {
		Provider: `schema: bedrock, url: "{{url}}", region: "{{region}}", headers: {x-{{role}}-claude: "yes"}`, Target: `, model: "` + claude + `"`,
	},
	"arn": {Provider: `schema: bedrock, url: "{{url}}", region: "{{region}}"`, Target: `, model: "` + arn + `"`},
}

func ofBedrock(kind string) bool { return kind == "claude" || kind == "arn" }

// failures are the ways in which the first provider fails, at both kinds.
var failures = map[string]struct {
	openai  openai.Behavior
	bedrock fake.Behavior
}{
	matrix.Refused: {},
	"503":          {openai.Status(503), fake.Fail(fake.Unavailable)},
	"429":          {openai.RateLimited(0), fake.Throttled(0)},
	"401":          {openai.Status(401), fake.Status(401)},
	"403":          {openai.Status(403), fake.Fail(fake.AccessDenied)},
	"reset":        {openai.NoAnswer(openai.Reset), fake.NoAnswer(fake.Reset)},
	"cut":          {openai.Behavior{Raw: []byte("HTTP/1.1 200 OK\r\nContent-Type: applic")}, fake.Behavior{Raw: []byte("HTTP/1.1 200 OK\r\nContent-Type: applic")}},
	"stall":        {openai.NoAnswer(openai.Stall), fake.NoAnswer(fake.Stall)},
}

// side is the two servers of one role, in a region of its own.
type side struct {
	openai  *openai.Server
	bedrock *fake.Server
	region  string
}

func newSide(t *testing.T, region string) side {
	t.Helper()
	return side{openai.Start(t), fake.Start(t, fake.WithRegion(region)), region}
}

func (s side) url(kind string) string {
	if ofBedrock(kind) {
		return s.bedrock.URL()
	}
	return s.openai.URL()
}

// of are the requests of an id.
func (s side) of(kind, id string) []openai.Request {
	var all []openai.Request
	if ofBedrock(kind) {
		for _, r := range s.bedrock.Requests() {
			all = append(all, r.Request)
		}
	} else {
		all = s.openai.Requests()
	}
	return matrix.With(all, id)
}

// world is the gate of the whole matrix and its providers.
type world struct {
	matrix.Matrix
	gate          *gate.Gate
	first, second side
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{first: newSide(t, "us-west-2"), second: newSide(t, "eu-central-1")}
	for name, behavior := range failures {
		w.first.openai.ForUser(name, behavior.openai)
		w.first.bedrock.ForText(name, behavior.bedrock)
	}
	w.Matrix = matrix.Matrix{
		Kinds: kinds, Failures: slices.Sorted(maps.Keys(failures)), FirstByte: "3s", Dead: "http://" + gate.FreeAddress(t),
		URL: func(role, kind string) string {
			return map[string]side{"first": w.first, "second": w.second}[role].url(kind)
		},
		Regions: map[string]string{"first": w.first.region, "second": w.second.region},
	}
	w.gate = gate.Start(t, gate.Settings{
		Config: "listen: {address: \"{{address}}\"}\n" + w.Config(),
		Env:    append(credentials(fake.Test), matrix.Secrets("PLAIN", "NAMED", "AZURE")...),
	})
	return w
}

// TestAnAttemptIsLikeAFreshRequest sends requests whose first provider fails, and holds
// what the second was sent against what it is sent when it is asked alone.
func TestAnAttemptIsLikeAFreshRequest(t *testing.T) {
	w := start(t)
	matrix.Each(t, w.Pairs(), func(t *testing.T, p matrix.Pair) {
		c := matrix.NewCaller(t, w.gate)
		cold := w.attempt(t, c, p, "cold", 1)
		warm := w.attempt(t, c, p, "warm", 60_000)
		assert.Equal(t, cold.Remote, warm.Remote, "the second request came over a new connection")
	})
	w.first.bedrock.NoRefusals(t)
	w.second.bedrock.NoRefusals(t)
}

// attempt sends one request by way of the first provider and one past it, and compares.
func (w *world) attempt(t *testing.T, c *matrix.Caller, p matrix.Pair, id string, size int) openai.Request {
	t.Helper()
	id = p.String() + "-" + id
	ask := func(way string) openai.Request {
		response, text := c.Post(t, matrix.Path, id+way, fmt.Sprintf(
			`{"model":%q, "user":%q, "metadata":{"n":12345678901234567890},"messages":[{"role":"user","content":"%s"},{"role":"assistant","content":"yes"},{"role":"user","content":%q}]}`,
			way+"-"+p.String(), p.Failure, strings.Repeat("x", size), p.Failure))
		require.Equal(t, http.StatusOK, response.StatusCode, text)
		assert.Equal(t, []string{"second-" + p.String()}, response.Header["X-Postern-Provider"])
		if ofBedrock(p.Second) || p.Second == "plain" { // the fake's other paths echo nothing
			assert.Contains(t, text, "You said: "+p.Failure)
			assert.Contains(t, text, `"model":"`+way+"-"+p.String()+`"`)
		}
		for name := range response.Header {
			assert.False(t, strings.HasPrefix(name, "X-Amz"), name)
		}
		all := w.second.of(p.Second, id+way)
		require.Len(t, all, 1)
		return all[0]
	}
	got := ask("both")
	tries := 1
	if p.Failure == matrix.Refused {
		tries = 0
	}
	assert.Len(t, w.first.of(p.First, id+"both"), tries, "attempts at the first provider")
	fresh := ask("only")
	assert.Equal(t, w.plainly(p, fresh), w.plainly(p, got))
	w.itsOwnOnly(t, p, got)
	return got
}

// plainly is all of a request but what must differ: which way was asked for, and when.
func (w *world) plainly(p matrix.Pair, r openai.Request) string {
	lines := matrix.Lines(r)
	if ofBedrock(p.Second) {
		lines = undated(lines)
	}
	return strings.ReplaceAll(matrix.Plainly(r, lines), "only", "both")
}

// undated leaves out what a signature says of its second and of its request's body.
func undated(lines []openai.HeaderLine) []openai.HeaderLine {
	for i, line := range lines {
		if line.Name == "x-amz-date" || line.Name == "authorization" {
			value, _, _ := strings.Cut(line.Value, "Signature=")
			lines[i].Value = value[:min(len(value), len("20261123"))] + value[min(len(value), len("20261123T000000Z")):]
		}
	}
	return lines
}

// itsOwnOnly holds a request against all that is nobody's business there.
func (w *world) itsOwnOnly(t *testing.T, p matrix.Pair, r openai.Request) {
	t.Helper()
	words := []string{w.gate.Key, w.gate.Address, w.first.openai.Address(), w.first.bedrock.Address(), w.first.region}
	if ofBedrock(p.Second) {
		w.bedrocksOwn(t, p, r, w.ItsOwnOnly(t, p, r, nil, words))
	} else {
		w.openaisOwn(t, p, r, w.ItsOwnOnly(t, p, r, []string{"x-amz-"}, words))
	}
}

func (w *world) bedrocksOwn(t *testing.T, p matrix.Pair, r openai.Request, names map[string]string) {
	t.Helper()
	assert.Equal(t, w.second.bedrock.Address(), r.Host)
	assert.Contains(t, names["authorization"], "Credential="+fake.Test.ID)
	assert.Contains(t, names["authorization"], "/"+w.second.region+"/bedrock/aws4_request")
	assert.Contains(t, names["authorization"], "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date,")
	for name, value := range names {
		assert.NotContains(t, value, "secret-of-", name)
		assert.False(t, strings.HasPrefix(name, "x-amz-") && name != "x-amz-date" && name != "x-amz-content-sha256", "%s: %s", name, value)
	}
	assert.NotContains(t, names, "accept")
	assert.NotContains(t, names, "accept-encoding")
	id := "us.anthropic.claude-haiku-4-5-20251001-v1%3A0"
	if p.Second == "arn" {
		id = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F" + id
	}
	assert.Equal(t, "/model/"+id+"/converse", r.Target)
	assert.Equal(t, p.Failure, r.JSON("messages.2.content.0.text").String())
	assert.NotContains(t, string(r.Body), "12345678901234567890")
	assert.NotContains(t, string(r.Body), p.String(), "the client's name for the model is nothing to Bedrock")
}

func (w *world) openaisOwn(t *testing.T, p matrix.Pair, r openai.Request, names map[string]string) {
	t.Helper()
	w.AsItsKind(t, p, r, names)
	for name, value := range names {
		assert.NotContains(t, value, "AWS4", name)
	}
	assert.Equal(t, w.second.openai.Address(), r.Host)
	assert.Equal(t, "text/event-stream, */*", names["accept"])
	assert.NotContains(t, names, "accept-encoding", "a packed answer would hide its tokens")
	assert.Equal(t, "12345678901234567890", r.JSON("metadata.n").Raw)
}
