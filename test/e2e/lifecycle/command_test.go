package lifecycle_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {}} {
		r := run(t, args...)
		assert.Equal(t, 0, r.code)
		assert.Empty(t, r.err)
		for _, command := range []string{"run", "validate", "explain", "keys", "status", "envoy", "schema"} {
			assert.Contains(t, r.out, "\n  "+command+" ")
		}
	}
	for _, command := range []string{"run", "validate", "explain", "status", "schema", "keys create", "envoy fetch"} {
		r := run(t, append(strings.Fields(command), "--help")...)
		assert.Equal(t, 0, r.code, command)
		assert.Contains(t, r.out, "postern "+command)
	}
}

func TestSchemaIsTheCommittedOne(t *testing.T) {
	r := run(t, "schema")
	require.Equal(t, 0, r.code)
	committed, err := os.ReadFile(filepath.Join(root(t), "config", "schema.json"))
	require.NoError(t, err)
	assert.Equal(t, string(committed), r.out)
}

func TestEnvoyFetchKnowsWhatIsThere(t *testing.T) {
	r := run(t, "envoy", "fetch")
	assert.Equal(t, 0, r.code)
	assert.Equal(t, envoytest.Binary(t)+"\n", r.out)
	assert.Empty(t, r.err)
}

func TestValidateAcceptsWhatIsShipped(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root(t), "examples", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range append(files, filepath.Join(root(t), "postern.yaml")) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			const mounted = "file:/etc/postern/tls/"
			if strings.Contains(string(text), mounted) {
				file = write(t, "postern.yaml", strings.ReplaceAll(string(text), mounted, "file:"+certificates(t)+"/"))
			}
			r := run(t, "validate", file)
			assert.Equal(t, 0, r.code, r.err)
			assert.Contains(t, r.out, "is valid: version ")
			assert.Contains(t, r.out, "Envoy accepts it")
		})
	}
}

func TestValidateTellsProblemsAndWarnings(t *testing.T) {
	bad := write(t, "bad.yaml", "providers:\n  a: {schema: openai}\nmodels:\n  m: {route: [[{provider: b}]]}\nmore: 1\n")
	r := run(t, "validate", bad)
	requireRefusal(t, r, bad+":2:", bad+":4:", bad+":5:")

	warned := write(t, "warned.yaml", `
providers:
  a: {schema: openai, url: https://a.example/v1, key: "${A_KEY_THAT_NOBODY_SET}"}
models:
  m: {route: [[{provider: a}]]}
`)
	r = run(t, "validate", warned)
	assert.Equal(t, 0, r.code, "a warning is no mistake")
	require.Len(t, r.errs(), 2, r.err)
	assert.Contains(t, r.errs()[0], "warning: "+warned+":3: providers.a.key: ")
	assert.Contains(t, r.errs()[1], "warning: "+warned+":5: models.m: ")
	assert.Contains(t, r.out, "Envoy accepts it")

	requireRefusal(t, run(t, "validate", "/nowhere.yaml"), "/nowhere.yaml: the file does not exist")

	r = call{args: []string{"validate", warned}, env: []string{"ENVOY=", "PATH=" + t.TempDir()}}.run(t)
	assert.Equal(t, 0, r.code)
	assert.Contains(t, r.out, "Envoy was not at hand")
}

const explained = `listen: {address: "{{address}}"}
providers:
  demo: {schema: openai, builtin: demo}
  fake: {schema: openai, url: "FAKE/v1"}
  keyless: {schema: openai, url: "http://127.0.0.1:9/v1", key: "${A_KEY_THAT_NOBODY_SET}"}
models:
  exact:
    route:
      - [{provider: demo, weight: 3}, {provider: keyless}, {provider: fake, weight: 0, without: [tools]}]
      - [{provider: demo, model: other}]
    timeouts: {first_byte: 2s}
  "gpt-*": {route: [[{provider: fake}]]}
  "gpt-4*":
    system: Be brief.
    route: [[{provider: fake}]]
  lost: {route: [[{provider: keyless}]]}
  "lost-*": {route: [[{provider: keyless}]]}
  "l*": {route: [[{provider: demo}]]}
  cheap: {prefer: cost, route: [[{provider: demo}], [{provider: demo, model: other}]]}
  read: {prefer: cost, validate: strict, route: [[{provider: demo}], [{provider: demo, model: other}]]}
`

// What explain says of a model is what the gate does with it.
func TestExplain(t *testing.T) {
	provider := fake.Start(t)
	g := gate.Start(t, gate.Settings{Config: strings.Replace(explained, "FAKE", provider.URL(), 1)})
	for _, row := range []struct {
		model  string
		says   []string
		code   int // of the command
		status int // of the gate's answer
	}{
		{"exact", []string{
			`exact is served by the entry "exact"   (FILE:7)`, "lane: native", "group 1:   (FILE:9)", "demo             100 %",
			"keyless          left out here: its credential", "fake             left out: its weight is 0", "group 2:   (FILE:10)", "as other", "first byte 2s", "(FILE:11)",
		}, 0, http.StatusOK},
		{"gpt-3", []string{`by the entry "gpt-*"   (FILE:12)`, "lane: native"}, 0, http.StatusOK},
		{"gpt-4o", []string{`by the entry "gpt-4*"   (FILE:13)`, "lane: understood", "system   (FILE:14)"}, 0, http.StatusOK},
		{"lost", []string{`by the entry "lost"   (FILE:16)`, "left out", "404 model_not_found"}, 0, http.StatusNotFound},
		{"lost-x", []string{`by the entry "lost-*"   (FILE:17)`, "404 model_not_found"}, 0, http.StatusNotFound},
		{"lone", []string{`by the entry "l*"   (FILE:18)`}, 0, http.StatusOK},
		{"cheap", []string{"lane: native", "order: the cheaper group first, by the price of three input tokens", "(FILE:19)"}, 0, http.StatusOK},
		{"read", []string{"lane: understood", "order: the cheaper group first, by the price of each request   (FILE:20)"}, 0, http.StatusOK},
		{"nobody", []string{`no model or pattern in FILE matches "nobody"`, "404 model_not_found"}, 1, http.StatusNotFound},
	} {
		t.Run(row.model, func(t *testing.T) {
			r := run(t, "explain", row.model, "--config", g.File)
			assert.Equal(t, row.code, r.code)
			for _, text := range row.says {
				assert.Contains(t, r.out+r.err, strings.ReplaceAll(text, "FILE", g.File))
			}
			response, body := g.Chat(t.Context(), t, row.model)
			assert.Equal(t, row.status, response.StatusCode, body)
		})
	}
	var read []string // the models whose bodies were changed
	for _, request := range provider.Requests() {
		if strings.Contains(string(request.Body), "Be brief.") {
			read = append(read, request.JSON("model").String())
		}
	}
	assert.Equal(t, []string{"gpt-4o"}, read)
	requireRefusal(t, run(t, "explain", "exact", "--config", "/nowhere.yaml"), "/nowhere.yaml: the file does not exist")
}

func TestKeysCreate(t *testing.T) {
	g := gate.Start(t, gate.Settings{Config: demoOnly + "tiers: {two: {requests: 2/h}}\n"})
	create := func(args ...string) string {
		r := run(t, append([]string{"keys", "create", "--data", g.Data}, args...)...)
		require.Equal(t, 0, r.code, r.err)
		require.Regexp(t, `^pk_\S+\n$`, r.out, "the token and nothing else")
		require.Regexp(t, `^key key_\S+ for tenant acme, tier \S+, until \S+\n$`, r.err)
		return strings.TrimSpace(r.out)
	}
	statusWith := func(key string) int {
		response, _ := g.Request(t.Context(), t, http.MethodPost, chatPath, chatBody("demo", ""), "Authorization", "Bearer "+key)
		return response.StatusCode
	}
	assert.Equal(t, http.StatusOK, statusWith(create("--tenant", "acme")), "it is good at once")

	first, second := create("--tenant", "acme", "--tier", "two"), create("--tenant", "acme", "--tier", "two", "--user", "ann")
	for _, key := range []string{first, second} { // each has its own limit
		for _, want := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests} {
			assert.Equal(t, want, statusWith(key))
		}
	}

	requireRefusal(t, run(t, "keys", "create", "--data", g.Data), `required flag(s) "tenant" not set`)
	for field, args := range map[string][]string{
		"tenant":  {"--tenant", "a,b"},
		"user":    {"--tenant", "a", "--user", "key_x"},
		"tier":    {"--tenant", "a", "--tier", "No/Tier"},
		"expires": {"--tenant", "a", "--expires", "1ms"},
		"expiry":  {"--tenant", "a", "--expires", "-1h"},
	} {
		r := run(t, append([]string{"keys", "create", "--data", g.Data}, args...)...)
		say := map[string]string{"expires": "expiry"}[field]
		if say == "" {
			say = field
		}
		requireRefusal(t, r, "postern: The "+say+" must")
	}
}

// Envoy allows for clocks that are a minute apart, so nobody waits for the end here.
func TestAKeyEnds(t *testing.T) {
	g := gate.Start(t, gate.Settings{Config: demoOnly})
	r := run(t, "keys", "create", "--data", g.Data, "--tenant", "acme", "--expires", "90s")
	require.Equal(t, 0, r.code, r.err)
	until, err := time.Parse(time.RFC3339, strings.TrimSpace(r.err[strings.LastIndex(r.err, "until ")+len("until "):]))
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now().Add(90*time.Second), until, 10*time.Second)

	signer, err := access.Open(g.Data)
	require.NoError(t, err)
	for age, want := range map[time.Duration]int{time.Minute: http.StatusOK, 3 * time.Minute: http.StatusUnauthorized} {
		key, err := signer.Mint(access.Grant{Tenant: "acme", Expires: 90 * time.Second}, time.Now().Add(-age))
		require.NoError(t, err)
		response, body := g.Request(t.Context(), t, http.MethodPost, chatPath, chatBody("demo", ""), "Authorization", "Bearer "+key.Token())
		assert.Equal(t, want, response.StatusCode, body)
		if want == http.StatusUnauthorized {
			assert.Equal(t, "invalid_api_key", gjson.Get(body, "error.code").String(), body)
		}
	}
}

func TestStatus(t *testing.T) {
	nobody := t.TempDir()
	requireRefusal(t, run(t, "status", "--data", nobody), "no postern runs with the data folder "+nobody)

	g := gate.Start(t, gate.Settings{Config: strings.Replace(demoOnly, "{demo: {schema", `{x: {schema: openai, url: "http://127.0.0.1:9", key: "${A_KEY_THAT_NOBODY_SET}"}, demo: {schema`, 1)})
	version := versionOf(t, g)
	r := run(t, "status", "--data", g.Data)
	assert.Equal(t, 0, r.code, r.err)
	assert.Contains(t, r.out, "configuration  "+version)
	assert.Regexp(t, `envoy +postern, connected \S+, routes \S`, r.out)
	assert.Regexp(t, `parts +postern .*, envoy `+regexp.QuoteMeta(envoy.Version)+` live\n`, r.out)
	assert.Regexp(t, `services +xds, extproc, answer, usage\nanswers +read by the (module|script)\n`, r.out)
	assert.Contains(t, r.out, "warning        providers.x.key: ")

	r = run(t, "status", "--json", "--data", g.Data)
	assert.Equal(t, 0, r.code, r.err)
	require.True(t, json.Valid([]byte(r.out)))
	assert.Equal(t, version, gjson.Get(r.out, "version").String())
	assert.Equal(t, int64(1), gjson.Get(r.out, "envoy.envoys.#").Int(), r.out)

	g.Write(t, "nonsense")
	require.True(t, g.WaitOutput("the last good version stays", soon))
	r = run(t, "status", "--json", "--data", g.Data)
	assert.Equal(t, 1, r.code, "in either form it says whether all is well")
	assert.NotEmpty(t, gjson.Get(r.out, "last_error").String())

	g.Kill()
	g.Wait(t, patience)
	requireRefusal(t, run(t, "status", "--data", g.Data), "no postern runs with the data folder")
}

// Several keys may be made at once in a folder that has none.
func TestKeysOfANewFolder(t *testing.T) {
	data := filepath.Join(t.TempDir(), "new")
	tokens := make([]string, 4)
	t.Run("at once", func(t *testing.T) {
		for i := range tokens {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				r := run(t, "keys", "create", "--tenant", "acme", "--data", data)
				assert.Equal(t, 0, r.code, r.err)
				tokens[i] = strings.TrimSpace(r.out)
			})
		}
	})
	signer, err := access.Open(data)
	require.NoError(t, err)
	for _, token := range tokens {
		_, err := signer.Verify(token, time.Now())
		assert.NoError(t, err)
	}
}
