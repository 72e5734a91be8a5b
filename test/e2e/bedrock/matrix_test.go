package bedrock_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// kinds are the forms that a provider has: what its entry says, and what its target
// does. {{url}} is where it listens, {{ROLE}} is FIRST or SECOND, {{region}} its own.
var kinds = map[string]struct {
	bedrock          bool
	provider, target string
}{
	"plain":  {false, `schema: openai, url: "{{url}}/v1", key: "${{{ROLE}}_PLAIN}", headers: {x-{{role}}-plain: "yes"}`, ""},
	"named":  {false, `schema: openai, url: "{{url}}/{{role}}/base", key: "${{{ROLE}}_NAMED}"`, `, model: a-much-longer-name-of-the-{{role}}`},
	"azure":  {false, `schema: azure, url: "{{url}}", api_version: 2024-10-21, key: "${{{ROLE}}_AZURE}"`, `, model: {{role}}-deployment`},
	"claude": {true, `schema: bedrock, url: "{{url}}", region: "{{region}}", headers: {x-{{role}}-claude: "yes"}`, `, model: "` + claude + `"`},
	"arn":    {true, `schema: bedrock, url: "{{url}}", region: "{{region}}"`, `, model: "` + arn + `"`},
}

// failures are the ways in which the first provider fails, at both kinds.
var failures = map[string]struct {
	openai  openai.Behavior
	bedrock fake.Behavior
}{
	"refused": {}, // by an address on which nobody listens
	"503":     {openai.Status(503), fake.Fail(fake.Unavailable)},
	"429":     {openai.RateLimited(0), fake.Throttled(0)},
	"401":     {openai.Status(401), fake.Status(401)},
	"403":     {openai.Status(403), fake.Fail(fake.AccessDenied)},
	"reset":   {openai.NoAnswer(openai.Reset), fake.NoAnswer(fake.Reset)},
	"cut":     {openai.Behavior{Raw: []byte("HTTP/1.1 200 OK\r\nContent-Type: applic")}, fake.Behavior{Raw: []byte("HTTP/1.1 200 OK\r\nContent-Type: applic")}},
	"stall":   {openai.NoAnswer(openai.Stall), fake.NoAnswer(fake.Stall)},
}

const atOnce = 24

// pair is one cell of the matrix. Its two providers are nobody else's, so that their
// clusters have no connection before the first request.
type pair struct{ first, second, failure string }

func (p pair) String() string { return p.first + "-" + p.second + "-" + p.failure }

func pairs() []pair {
	var all []pair
	for _, first := range slices.Sorted(maps.Keys(kinds)) {
		for _, second := range slices.Sorted(maps.Keys(kinds)) {
			for failure := range failures {
				all = append(all, pair{first, second, failure})
			}
		}
	}
	return all
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
	if kinds[kind].bedrock {
		return s.bedrock.URL()
	}
	return s.openai.URL()
}

// of are the requests of an id.
func (s side) of(kind, id string) []openai.Request {
	var all []openai.Request
	if kinds[kind].bedrock {
		for _, r := range s.bedrock.Requests() {
			all = append(all, r.Request)
		}
	} else {
		all = s.openai.Requests()
	}
	return slices.DeleteFunc(all, func(r openai.Request) bool { return r.Header.Get("X-Request-ID") != id })
}

// world is the gate of the whole matrix and its providers.
type world struct {
	gate          *gate.Gate
	first, second side
	dead          string // URL
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{first: newSide(t, "us-west-2"), second: newSide(t, "eu-central-1"), dead: "http://" + gate.FreeAddress(t)}
	for name, behavior := range failures {
		w.first.openai.ForUser(name, behavior.openai)
		w.first.bedrock.ForText(name, behavior.bedrock)
	}
	var providers, models strings.Builder
	for _, p := range pairs() {
		at := w.first.url(p.first)
		if p.failure == "refused" {
			at = w.dead
		}
		target := func(role, kind, url, region string) string {
			fill := strings.NewReplacer("{{url}}", url, "{{role}}", role, "{{ROLE}}", strings.ToUpper(role), "{{region}}", region)
			fmt.Fprintf(&providers, "  %s-%s: {%s}\n", role, p, fill.Replace(kinds[kind].provider))
			return fmt.Sprintf("[{provider: %s-%s%s}]", role, p, fill.Replace(kinds[kind].target))
		}
		one := target("first", p.first, at, w.first.region)
		two := target("second", p.second, w.second.url(p.second), w.second.region)
		fmt.Fprintf(&models, "  both-%s: {route: [%s, %s], timeouts: {first_byte: 3s}}\n", p, one, two)
		fmt.Fprintf(&models, "  only-%s: {route: [%s], timeouts: {first_byte: 3s}}\n", p, two)
	}
	env := credentials(fake.Test)
	for _, role := range []string{"FIRST", "SECOND"} {
		for _, kind := range []string{"PLAIN", "NAMED", "AZURE"} {
			env = append(env, role+"_"+kind+"=secret-of-"+strings.ToLower(role+"-"+kind))
		}
	}
	w.gate = gate.Start(t, gate.Settings{
		Config: "listen: {address: \"{{address}}\"}\nproviders:\n" + providers.String() + "models:\n" + models.String(), Env: env,
	})
	return w
}

// TestAnAttemptIsLikeAFreshRequest sends requests whose first provider fails, and holds
// what the second was sent against what it is sent when it is asked alone.
func TestAnAttemptIsLikeAFreshRequest(t *testing.T) {
	w := start(t)
	var all sync.WaitGroup
	waiting := make(chan struct{}, atOnce)
	for _, p := range pairs() {
		waiting <- struct{}{}
		all.Go(func() {
			defer func() { <-waiting }()
			t.Run(p.String(), func(t *testing.T) {
				c := newCaller(t, w.gate)
				cold := w.attempt(t, c, p, "cold", 1)
				warm := w.attempt(t, c, p, "warm", 60_000)
				assert.Equal(t, cold.Remote, warm.Remote, "the second request came over a new connection")
			})
		})
	}
	all.Wait()
	w.first.bedrock.NoRefusals(t)
	w.second.bedrock.NoRefusals(t)
}

// attempt sends one request by way of the first provider and one past it, and compares.
func (w *world) attempt(t *testing.T, c *caller, p pair, id string, size int) openai.Request {
	t.Helper()
	const path = "/v1/chat/completions?trace=a%2Fb"
	id = p.String() + "-" + id
	ask := func(way string) openai.Request {
		response, text := c.post(t, path, id+way, fmt.Sprintf(
			`{"model":%q, "user":%q, "metadata":{"n":12345678901234567890},"messages":[{"role":"user","content":"%s"},{"role":"assistant","content":"yes"},{"role":"user","content":%q}]}`,
			way+"-"+p.String(), p.failure, strings.Repeat("x", size), p.failure))
		require.Equal(t, http.StatusOK, response.StatusCode, text)
		assert.Equal(t, []string{"second-" + p.String()}, response.Header["X-Postern-Provider"])
		if kinds[p.second].bedrock || p.second == "plain" { // the fake's other paths echo nothing
			assert.Contains(t, text, "You said: "+p.failure)
			assert.Contains(t, text, `"model":"`+way+"-"+p.String()+`"`)
		}
		for name := range response.Header {
			assert.False(t, strings.HasPrefix(name, "X-Amz"), name)
		}
		all := w.second.of(p.second, id+way)
		require.Len(t, all, 1)
		return all[0]
	}
	got := ask("both")
	tries := 1
	if p.failure == "refused" {
		tries = 0
	}
	assert.Len(t, w.first.of(p.first, id+"both"), tries, "attempts at the first provider")
	fresh := ask("only")
	assert.Equal(t, w.plainly(p, fresh), w.plainly(p, got))
	w.itsOwnOnly(t, p, got)
	return got
}

// plainly is all of a request, in a form in which two of one kind are equal: the header
// lines in order, and without what must differ: which way was asked for, and when.
func (w *world) plainly(p pair, r openai.Request) string {
	var lines []string
	for _, line := range linesOf(r) {
		value := line.Value
		if kinds[p.second].bedrock && (line.Name == "x-amz-date" || line.Name == "authorization") {
			value, _, _ = strings.Cut(value, "Signature=") // of another second, and of another body
			value = value[:min(len(value), len("20261123"))] + value[min(len(value), len("20261123T000000Z")):]
		}
		lines = append(lines, line.Name+": "+value)
	}
	slices.Sort(lines)
	text := fmt.Sprintf("%s %s %s\n%s\n\n%s", r.Method, r.Target, r.Proto, strings.Join(lines, "\n"), r.Body)
	return strings.ReplaceAll(text, "only", "both")
}

// linesOf are the header lines of a request, their names in lower case. A server that
// keeps none gives them by name.
func linesOf(r openai.Request) []openai.HeaderLine {
	var all []openai.HeaderLine
	for _, line := range r.Lines {
		all = append(all, openai.HeaderLine{Name: strings.ToLower(line.Name), Value: line.Value})
	}
	if all == nil {
		for name, values := range r.Header {
			for _, value := range values {
				all = append(all, openai.HeaderLine{Name: strings.ToLower(name), Value: value})
			}
		}
	}
	return all
}

// itsOwnOnly holds a request against all that is nobody's business there.
func (w *world) itsOwnOnly(t *testing.T, p pair, r openai.Request) {
	t.Helper()
	at, names := kinds[p.second], map[string]string{}
	families := []string{"x-postern-", "x-envoy-", "x-forwarded-", "x-amzn-", "x-first-"}
	if !at.bedrock {
		families = append(families, "x-amz-")
	}
	for _, line := range linesOf(r) {
		_, twice := names[line.Name]
		assert.False(t, twice, "%s came twice", line.Name)
		names[line.Name] = line.Value
		for _, family := range families {
			assert.False(t, strings.HasPrefix(line.Name, family), "%s: %s", line.Name, line.Value)
		}
		for _, word := range []string{
			"first", w.gate.Key, w.gate.Address, w.first.openai.Address(), w.first.bedrock.Address(), strings.TrimPrefix(w.dead, "http://"),
			w.first.region, "develop", "key_", "mine", "forged", "203.0.113.9",
		} {
			value := strings.ReplaceAll(line.Value, p.String(), "") // its id is the test's own
			assert.NotContains(t, value, word, line.Name)
		}
	}
	assert.Equal(t, fmt.Sprint(len(r.Body)), names["content-length"])
	assert.Equal(t, "application/json", names["content-type"])
	assert.Equal(t, "kept", names["x-own"])
	if at.bedrock {
		w.bedrocksOwn(t, p, r, names)
	} else {
		w.openaisOwn(t, p, r, names)
	}
}

func (w *world) bedrocksOwn(t *testing.T, p pair, r openai.Request, names map[string]string) {
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
	if p.second == "arn" {
		id = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F" + id
	}
	assert.Equal(t, "/model/"+id+"/converse", r.Target)
	assert.Equal(t, p.failure, r.JSON("messages.2.content.0.text").String())
	assert.NotContains(t, string(r.Body), "12345678901234567890")
	assert.NotContains(t, string(r.Body), p.String(), "the client's name for the model is nothing to Bedrock")
}

func (w *world) openaisOwn(t *testing.T, p pair, r openai.Request, names map[string]string) {
	t.Helper()
	credential := map[string]string{"azure": "api-key"}[p.second]
	if credential == "" {
		credential = "authorization"
	}
	for name, value := range names {
		if name == credential {
			assert.Contains(t, value, "secret-of-second-"+p.second)
			continue
		}
		assert.NotContains(t, value, "secret-of-", name)
		assert.NotContains(t, value, "AWS4", name)
	}
	assert.NotEmpty(t, names[credential], "its own credential")
	assert.Equal(t, w.second.openai.Address(), r.Host)
	assert.Equal(t, "text/event-stream, */*", names["accept"])
	assert.NotContains(t, names, "accept-encoding", "a packed answer would hide its tokens")
	target := map[string]string{
		"plain": "/v1/chat/completions?trace=a%2Fb",
		"named": "/second/base/chat/completions?trace=a%2Fb",
		"azure": "/openai/deployments/second-deployment/chat/completions?api-version=2024-10-21",
	}[p.second]
	assert.Equal(t, target, r.Target)
	model := map[string]string{"azure": "second-deployment", "named": "a-much-longer-name-of-the-second"}[p.second]
	if model == "" {
		model = "both-" + p.String()
	}
	assert.Equal(t, model, r.JSON("model").String())
	assert.Equal(t, "12345678901234567890", r.JSON("metadata.n").Raw)
}

// caller is a client with one connection, and so with one of Envoy's workers, whose
// connections to providers are not shared with others.
type caller struct {
	gate   *gate.Gate
	client *http.Client
}

func newCaller(t *testing.T, g *gate.Gate) *caller {
	t.Helper()
	c := &caller{gate: g, client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// post sends a body with an id of the caller's own, and gives the answer and its text.
func (c *caller) post(t *testing.T, path, id, body string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.gate.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	for name, value := range map[string]string{
		"Authorization": "Bearer " + c.gate.Key, "Content-Type": "application/json", "X-Request-Id": id,
		"Accept": "text/event-stream, */*", "X-Own": "kept",
		// What a client may try to have passed on in our name.
		"X-Postern-Tenant": "forged", "X-Envoy-Retry-On": "5xx", "X-Forwarded-For": "203.0.113.9",
		"Cookie": "session=mine", "Api-Key": "mine", "X-Amz-Security-Token": "mine", "X-Amz-Date": "mine",
		"X-Amzn-Bedrock-Trace": "mine", "X-Amzn-Bedrock-Guardrailidentifier": "mine",
	} {
		request.Header.Set(name, value)
	}
	response, err := c.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(text)
}
