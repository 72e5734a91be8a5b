package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

const (
	patience = 20 * time.Second
	glance   = 5 * time.Millisecond
)

// house is a gate and the providers behind it.
type house struct {
	*gate.Gate
	signer *access.Signer
	admin  envoy.Admin

	main          *fake.Server // model "main" and most others, and every other path
	first, second *fake.Server // models "pair", "sure" and "split"
	config        string
	suffixes      []string // of the models: what each lane adds to a name
}

// providerKey is the credential of a provider in tests.
func providerKey(name string) string { return "sk-" + name + "-0123456789abcdef" }

func providerEnv(names ...string) []string {
	env := make([]string, 0, len(names))
	for _, name := range names {
		env = append(env, strings.ToUpper(name)+"_KEY="+providerKey(name))
	}
	return env
}

// open makes a house whose life is tb's.
func open(tb testing.TB, lanes ...lane) *house {
	tb.Helper()
	h := &house{
		main:  fake.Start(tb, fake.WithKey(providerKey("main"))),
		first: fake.Start(tb), second: fake.Start(tb),
	}
	for _, l := range lanes {
		h.suffixes = append(h.suffixes, l.model(""))
	}
	h.config = h.document(tb)
	h.Gate = gate.Start(tb, gate.Settings{Config: h.config, Env: providerEnv("main", "first", "second")})
	h.knock(tb)
	return h
}

// knock finds what a running gate keeps in its data folder.
func (h *house) knock(tb testing.TB) {
	tb.Helper()
	signer, err := access.Open(h.Data)
	if err != nil {
		tb.Fatal(err)
	}
	h.signer = signer
	h.admin = adminOf(tb, h.Gate)
}

func adminOf(tb testing.TB, g *gate.Gate) envoy.Admin {
	tb.Helper()
	folder, err := os.ReadFile(filepath.Join(g.Data, "run", "folder"))
	if err != nil {
		tb.Fatal(err)
	}
	return envoy.Admin{Socket: filepath.Join(string(folder), "admin.sock")}
}

// document is the configuration of the shared gate. Each model that a bad row asks
// for exists once a lane: "main" is native, "main.read" has its body read by Go.
func (h *house) document(tb testing.TB) string {
	tb.Helper()
	rude := func(g fake.Greeting) string {
		s := fake.Start(tb)
		s.Greet(g)
		return s.URL()
	}
	var models strings.Builder
	for _, suffix := range h.suffixes {
		for _, name := range []string{"main", "dead", "hangup", "slam", "babble"} {
			models.WriteString(entry(name+suffix, "[{provider: "+name+"}]", suffix != "", "10s"))
		}
		models.WriteString(entry("quick"+suffix, "[{provider: main}]", suffix != "", "300ms"))
		models.WriteString(entry("sure"+suffix, "[{provider: tired}], [{provider: second}]", suffix != "", "10s"))
		models.WriteString(entry("pair"+suffix, "[{provider: first}], [{provider: second}]", suffix != "", "300ms"))
		models.WriteString(entry("split"+suffix, "[{provider: uneven, weight: 90}, {provider: second, weight: 10}]", suffix != "", "10s"))
	}
	return fmt.Sprintf(`
listen: {address: "{{address}}", cors: {origins: ["https://app.example.com"]}}
health: {probe: off, breakers: off}
providers:
  main:   {schema: openai, url: %q, key: "${MAIN_KEY}"}
  dead:   {schema: openai, url: "http://%s/v1"}
  hangup: {schema: openai, url: "%s/v1"}
  slam:   {schema: openai, url: "%s/v1"}
  babble: {schema: openai, url: "%s/v1"}
  first:  {schema: openai, url: "%s/v1", key: "${FIRST_KEY}", headers: {X-First: only-first, OpenAI-Organization: org-first}}
  second: {schema: openai, url: "%s/v1", key: "${SECOND_KEY}", headers: {X-Second: only-second}}
  # The first again, for tests after which a provider is left alone for a while.
  tired:  {schema: openai, url: "%s/v1", key: "${FIRST_KEY}"}
  uneven: {schema: openai, url: "%s/v1", key: "${FIRST_KEY}"}
  demo:   {schema: openai, builtin: demo}
models:
  demo: {route: [[{provider: demo}]]}
%s
tiers:
  default: {}
  five: {requests: 5/h}
  six: {requests: 6/h}
default_provider: main
`, h.main.URL()+"/v1", gate.FreeAddress(tb), rude(fake.HangUp), rude(fake.SlamDoor), rude(fake.Babble),
		h.first.URL(), h.second.URL(), h.first.URL(), h.first.URL(), models.String())
}

func entry(name, route string, understood bool, firstByte string) string {
	more := ""
	if understood {
		more = ", system: Be brief."
	}
	return fmt.Sprintf("  %s: {route: [%s], timeouts: {first_byte: %s}%s}\n", name, route, firstByte, more)
}

var (
	sharedOnce  sync.Once
	sharedHouse *house
)

// shared is the house that most tests use. Its providers have forgotten what the
// test before did.
func shared(t *testing.T) *house {
	t.Helper()
	envoytest.Binary(t) // or this test is skipped, and not the run
	gate.Binary(t)
	sharedOnce.Do(func() { sharedHouse = open(whole, native) })
	if sharedHouse == nil {
		t.Fatal("the shared gate did not open")
	}
	for _, s := range []*fake.Server{sharedHouse.main, sharedHouse.first, sharedHouse.second} {
		s.Reset()
	}
	return sharedHouse
}

// key mints a key; how changes the grant.
func (h *house) key(tb testing.TB, tier string, now time.Time) string {
	tb.Helper()
	key, err := h.signer.Mint(access.Grant{Tenant: "acme", Tier: tier, Expires: time.Hour}, now)
	if err != nil {
		tb.Fatal(err)
	}
	return key.Token()
}

// idle waits until no request is under way in Envoy.
func (h *house) idle(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return h.active(t) == 0 }, patience, glance, "requests stay open in Envoy")
}

// active is how many requests Envoy is working on, health checks of ours included.
func (h *house) active(t *testing.T) int {
	t.Helper()
	const name = "http.postern.downstream_rq_active"
	stats, err := h.admin.Stats(t.Context(), name)
	require.NoError(t, err)
	return int(stats[name])
}

func chatBody(model, more string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"one two three"}]%s}`, model, more)
}

const (
	chatPath  = "/v1/chat/completions"
	streaming = `,"stream":true`
)

var modelPaths = []string{chatPath, "/v1/completions", "/v1/embeddings", "/v1/responses"}

// inputs are a good body's other fields, by path.
var inputs = map[string]string{
	chatPath:          `"messages":[{"role":"user","content":"one two three"}]`,
	"/v1/completions": `"prompt":"one two three"`,
	"/v1/embeddings":  `"input":"one two three"`,
	"/v1/responses":   `"input":"one two three"`,
}
