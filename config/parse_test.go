package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secretValue is what no message and no printed form may contain.
const secretValue = "secret-value"

// world is a made-up environment.
func world(variables map[string]string, files map[string]string) Env {
	return Env{
		Lookup: func(name string) (string, bool) {
			value, ok := variables[name]
			return value, ok
		},
		ReadFile: func(name string) ([]byte, error) {
			text, ok := files[name]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		},
	}
}

// certificate makes a self-signed certificate and its key, PEM.
func certificate(tb testing.TB) (cert, key string) {
	tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(tb, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(tb, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// parse wants a good document.
func parse(tb testing.TB, text string, env Env) *Config {
	tb.Helper()
	c, err := Parse("test.yaml", []byte(text), env)
	require.NoError(tb, err)
	return c
}

// refused wants a bad document, and gives its messages.
func refused(tb testing.TB, text string, env Env) Problems {
	tb.Helper()
	c, err := Parse("test.yaml", []byte(text), env)
	require.Error(tb, err)
	require.Nil(tb, c)
	var problems Problems
	require.ErrorAs(tb, err, &problems)
	require.NotEmpty(tb, problems)
	return problems
}

// document is a good one around the pieces that a test is about.
func document(provider, model, rest string) string {
	if provider == "" {
		provider = "builtin: demo"
	}
	if model == "" {
		model = "route: [[{provider: p}]]"
	}
	return fmt.Sprintf("providers:\n  p: {schema: openai, %s}\nmodels:\n  m: {%s}\n%s\n", provider, model, rest)
}

func TestMistakesAreToldAllAtOnce(t *testing.T) {
	env := world(map[string]string{
		"OPENAI_API_KEY": secretValue, "TORN_KEY": "secret\nvalue", "KEY": secretValue,
	}, nil)
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			c, err := Parse(filepath.Base(file), text, env)
			require.Error(t, err)
			require.Nil(t, c)
			assert.NotContains(t, err.Error(), "secret-value")
			assert.NotContains(t, err.Error(), "c2VjcmV0")
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(err.Error()+"\n"))
		})
	}
}

func TestEverythingThereIs(t *testing.T) {
	cert, key := certificate(t)
	text, err := os.ReadFile("testdata/full.yaml")
	require.NoError(t, err)
	c := parse(t, string(text), world(
		map[string]string{"TLS_KEY": key},
		map[string]string{"tls.crt": cert, "ca.pem": cert, "one.key": secretValue + "\r\n"},
	))
	canonical, err := json.MarshalIndent(c, "", "  ")
	require.NoError(t, err)
	golden(t, "testdata/full.json", append(canonical, '\n'))

	assert.Equal(t, secretValue, c.Providers["one"].Key.Reveal())
	assert.Equal(t, cert, c.Providers["one"].Authorities())
	assert.Equal(t, strings.TrimSuffix(key, "\n"), c.Listen.TLS.Key.Reveal())
	assert.False(t, c.Providers["two"].Usable())
	var told []string
	for _, w := range c.Warnings() {
		told = append(told, w.String())
	}
	assert.Equal(t, []string{
		"test.yaml:18:10: providers.three.key: the provider is left out, because TWO_KEY is not set in the environment",
		"test.yaml:18:10: providers.two.key: the provider is left out, because TWO_KEY is not set in the environment",
		`test.yaml:30:3: models."gpt-4.1*": the model is left out, because none of its providers is usable`,
	}, told)
}

func TestDefaults(t *testing.T) {
	c := parse(t, document("", "", ""), Env{})
	assert.Equal(t, "127.0.0.1:8080", c.Listen.Address)
	assert.Equal(t, 20*MiB, c.Listen.BodyLimit)
	assert.Equal(t, Duration(2*time.Second), c.Providers["p"].Connect)
	m := c.Models["m"]
	assert.Equal(t, PreferOrder, m.Prefer)
	assert.Equal(t, 1, *m.Route[0][0].Weight)
	assert.Equal(t, Timeouts{
		Connect: Duration(2 * time.Second), FirstByte: Duration(time.Minute),
		Idle: Duration(5 * time.Minute), Total: Duration(10 * time.Minute),
	}, m.Timeouts)
	assert.Equal(t, &Tier{}, c.Tiers[DefaultTier])
	assert.Empty(t, c.Warnings())
}

func TestDefaultTimeoutsGiveWay(t *testing.T) {
	for given, want := range map[string]Timeouts{
		"first_byte: 20m":           {FirstByte: Duration(20 * time.Minute), Idle: Duration(20 * time.Minute), Total: Duration(20 * time.Minute)},
		"total: 30s":                {FirstByte: Duration(30 * time.Second), Idle: Duration(5 * time.Minute), Total: Duration(30 * time.Second)},
		"idle: 5s":                  {FirstByte: Duration(5 * time.Second), Idle: Duration(5 * time.Second), Total: Duration(10 * time.Minute)},
		"first_byte: 1s, idle: 10s": {FirstByte: Duration(time.Second), Idle: Duration(10 * time.Second), Total: Duration(10 * time.Minute)},
	} {
		c := parse(t, document("", "route: [[{provider: p}]], timeouts: {"+given+"}", ""), Env{})
		want.Connect = defaultConnect
		assert.Equal(t, want, c.Models["m"].Timeouts, given)
	}
}

func TestConnectIsSettledPerProvider(t *testing.T) {
	const providers = "providers: {a: {schema: openai, builtin: demo}, b: {schema: openai, builtin: demo, connect_timeout: 5s}}\n"
	c := parse(t, providers+"models:\n  x: {route: [[{provider: a}]], timeouts: {connect: 1s}}\n  y: {route: [[{provider: a}, {provider: b}]]}\n", Env{})
	assert.Equal(t, Duration(time.Second), c.Providers["a"].Connect)
	assert.Equal(t, Duration(5*time.Second), c.Providers["b"].Connect)
	assert.Equal(t, Duration(5*time.Second), c.Models["y"].Timeouts.Connect)

	problems := refused(t, providers+"models:\n  x: {route: [[{provider: a}]], timeouts: {connect: 1s}}\n  y: {route: [[{provider: a}]], timeouts: {connect: 3s}}\n", Env{})
	require.Len(t, problems, 1)
	assert.Equal(t, `test.yaml:4:53: models.y.timeouts.connect: disagrees with models.x.timeouts.connect: the connections to provider "a" have one timeout`, problems[0].String())

	problems = refused(t, providers+"models:\n  x: {route: [[{provider: b}]], timeouts: {connect: 1s}}\n", Env{})
	assert.Contains(t, problems.Error(), "disagrees with providers.b.connect_timeout")
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		":8080": "0.0.0.0:8080", "localhost:1": "127.0.0.1:1", "[::]:65535": "[::]:65535", "10.0.0.1:080": "10.0.0.1:80",
	} {
		c := parse(t, document("", "", "listen: {address: '"+address+"'}"), Env{})
		assert.Equal(t, want, c.Listen.Address)
	}
	for _, address := range []string{"", "8080", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "gate:80", "[fe80::1%eth0]:80", "::1:80", "127.0.0.1:http"} {
		problems := refused(t, document("", "", "listen: {address: '"+address+"'}"), Env{})
		assert.Len(t, problems, 1, address)
	}
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]struct{ url, base string }{
		"https://api.openai.com/v1":    {"https://api.openai.com/v1", "/v1"},
		"HTTPS://API.OpenAI.com/v1///": {"https://api.openai.com/v1", "/v1"},
		"http://127.0.0.1:9000":        {"http://127.0.0.1:9000", ""},
		"http://[::1]:9000/a/b/":       {"http://[::1]:9000/a/b", "/a/b"},
		"http://[::1]/v1":              {"http://[::1]/v1", "/v1"},
	} {
		c := parse(t, document("url: '"+text+"'", "", ""), Env{})
		p := c.Providers["p"]
		assert.Equal(t, want.url, p.URL)
		assert.Equal(t, want.url, p.Endpoint().String())
		assert.Equal(t, want.base, p.BasePath())
	}
	for _, text := range []string{
		"", "api.openai.com/v1", "//api.openai.com", "ftp://x/v1", "https://", "https:///v1", "https:x", "https://u@x/v1",
		"https://u:secret-value@x/v1", "https://x/v1?", "https://x/v1?a=secret-value", "https://x/v1#", "https://x/v1#a", "https://x:/v1",
		"https://x:0/v1", "https://x:65536/v1", "https://x:port/v1", "https://a b/v1", "https://x/a//b", "https://x/a/../b",
		"https://x/.", "https://x/%2e%2e/b", "https://x/a%2Fb", "https://x/a%2Fb/", "https://x/a b", "https://-x/v1", "https://x./v1", "https://é.example/v1",
		"https://[fe80::1%25eth0]/v1", "https://x/v1\\r\\nX: secret-value",
	} {
		problems := refused(t, document(`url: "`+text+`"`, "", ""), Env{})
		assert.Len(t, problems, 1, text)
		assert.NotContains(t, problems.Error(), secretValue)
	}
	c := parse(t, document("", "", ""), Env{})
	assert.Nil(t, c.Providers["p"].Endpoint())
	assert.Equal(t, "/v1", c.Providers["p"].BasePath())
}

func TestRoutesHaveBounds(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("[{provider: p}], ", maxGroups+1), ", ")
	assert.Contains(t, refused(t, document("", "route: ["+many+"]", ""), Env{}).Error(), "more than 16 groups")

	var b strings.Builder
	b.WriteString("providers:\n")
	for i := range maxTargets + 1 {
		fmt.Fprintf(&b, "  p%d: {schema: openai, builtin: demo}\n", i)
	}
	b.WriteString("models:\n  m:\n    route:\n      -\n")
	for i := range maxTargets + 1 {
		fmt.Fprintf(&b, "        - {provider: p%d}\n", i)
	}
	problems := refused(t, b.String(), Env{})
	require.Len(t, problems, 1)
	assert.Equal(t, "models.m.route[0]", problems[0].Path)
	assert.Contains(t, problems[0].Message, "more than 16 targets")
}

func TestModelNames(t *testing.T) {
	for _, name := range []string{"*", "gpt-*", "a b", "openai/gpt-4o", "über", strings.Repeat("m", 256)} {
		parse(t, "providers: {p: {schema: openai, builtin: demo}}\nmodels: {"+`"`+name+`"`+": {route: [[{provider: p}]]}}", Env{})
	}
	for _, name := range []string{"", " a", "a ", "**", "*a", "a*b*", `a\nb`, `a\u0000b`, `\u200b`, strings.Repeat("m", 257)} {
		problems := refused(t, "providers: {p: {schema: openai, builtin: demo}}\nmodels: {"+`"`+name+`"`+": {route: [[{provider: p}]]}}", Env{})
		assert.Len(t, problems, 1, name)
	}
}

func TestLoadReadsFilesBesideTheDocument(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "postern.yaml")
	write(t, file, document("url: 'https://x.example/v1', key: file:secret/key", "", ""))
	c, err := Load(file)
	require.NoError(t, err)
	require.Len(t, c.Warnings(), 2)
	assert.Equal(t, file+":2:57: providers.p.key: the provider is left out, because the file file:secret/key does not exist", c.Warnings()[0].String())

	require.NoError(t, os.Mkdir(filepath.Join(folder, "secret"), 0o700))
	write(t, filepath.Join(folder, "secret", "key"), secretValue+"\n")
	c, err = Load(file)
	require.NoError(t, err)
	assert.Equal(t, secretValue, c.Providers["p"].Key.Reveal())
	assert.Equal(t, []string{filepath.Join(folder, "secret", "key")}, c.Files())
	line, column, ok := c.Position(Path("providers", "p", "key"))
	assert.Equal(t, []any{2, 57, true}, []any{line, column, ok})
}

func TestLoadOfNoFile(t *testing.T) {
	folder := t.TempDir()
	for file, want := range map[string]string{
		filepath.Join(folder, "none.yaml"): "the file does not exist",
		folder:                             "the file cannot be read",
	} {
		_, err := Load(file)
		require.EqualError(t, err, file+": "+want)
	}
	large := filepath.Join(folder, "large.yaml")
	write(t, large, strings.Repeat("#", maxDocument+1))
	_, err := Load(large)
	require.EqualError(t, err, large+": the document is larger than 1MiB")
}

func write(tb testing.TB, file, text string) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(file, []byte(text), 0o600))
}

// A small document that stands for billions of values must be refused, and soon.
func TestAliasesCannotExplode(t *testing.T) {
	var b strings.Builder
	b.WriteString("providers: {p: {schema: openai, builtin: demo}}\nmodels:\n  a: {route: &r [")
	b.WriteString("&g [&t {provider: p}" + strings.Repeat(", *t", 2000) + "]")
	b.WriteString(strings.Repeat(", *g", 2000) + "]}\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "  m%d: {route: *r}\n", i)
	}
	begin := time.Now()
	problems := refused(t, b.String(), Env{})
	assert.Equal(t, "test.yaml: the document stands for too many values: use fewer aliases (*name)", problems.Error())
	assert.Less(t, time.Since(begin), time.Minute, "and not after hours, on a machine that does much else")
}

// Messages have an end, whatever the document.
func TestManyMistakesAreCutOff(t *testing.T) {
	var b strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	problems := refused(t, b.String(), Env{})
	require.Len(t, problems, 101)
	assert.Equal(t, "test.yaml: and 900 more", problems[100].String())
}

func TestVersion(t *testing.T) {
	text := document("url: '${BASE:-https://x.example/v1}', key: '${KEY}'", "", "")
	first := parse(t, text, world(map[string]string{"KEY": "one"}, nil)).Version
	assert.Regexp(t, `^[0-9a-f]{12}$`, first)
	assert.Equal(t, first, parse(t, "# a comment\n"+text, world(map[string]string{"KEY": "two"}, nil)).Version, "secrets and comments do not count")
	assert.Equal(t, first, parse(t, document("url: '${BASE:-https://x.example/v1}', key: '${KEY}'", "route: [[{provider: p, weight: 1}]]", "listen: {body_limit: 20480KiB}"), world(map[string]string{"KEY": "x"}, nil)).Version, "a default written down is the same")
	assert.NotEqual(t, first, parse(t, text, world(map[string]string{"KEY": "x", "BASE": "https://y.example/v1"}, nil)).Version, "variables count")
	assert.NotEqual(t, first, parse(t, strings.ReplaceAll(text, "KEY", "YEK"), world(map[string]string{"YEK": "x"}, nil)).Version, "references count")
	assert.NotEqual(t, first, parse(t, text, Env{}).Version, "what cannot be used counts: it is not compiled")

	keys := document("url: 'https://x.example/v1', keys: [{key: '${A}'}, {key: '${B}'}]", "", "")
	seen := map[string]bool{}
	for _, variables := range []map[string]string{{"A": "x", "B": "x"}, {"A": "x"}, {"B": "x"}, {}} {
		seen[parse(t, keys, world(variables, nil)).Version] = true
	}
	assert.Len(t, seen, 4, "so does which of the keys there are")
}

// The shipped documents, in a made-up environment.
func TestExamplesAreGood(t *testing.T) {
	cert, key := certificate(t)
	files, err := filepath.Glob("../examples/*.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 4)
	env := world(map[string]string{
		"OPENAI_API_KEY": "k", "OPENAI_EU_API_KEY": "k", "OPENAI_US_API_KEY": "k", "IN_HOUSE_API_KEY": "k",
		"OPENAI_FIRST_API_KEY": "k", "OPENAI_SECOND_API_KEY": "k", "AZURE_OPENAI_API_KEY": "k", "OPENROUTER_API_KEY": "k", "GEMINI_API_KEY": "k",
	}, map[string]string{
		"/etc/postern/tls/tls.crt": cert, "/etc/postern/tls/tls.key": key, "/run/secrets/openai": "k",
	})
	for _, file := range append(files, "../postern.yaml") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		c, err := Parse(filepath.Base(file), text, env)
		require.NoError(t, err)
		assert.Empty(t, c.Warnings(), file)
	}
	text, err := os.ReadFile("../postern.yaml")
	require.NoError(t, err)
	c := parse(t, string(text), Env{})
	assert.Len(t, c.Warnings(), 2, "without a key the newcomer still has the demo")
	assert.NotEmpty(t, c.Models["demo"].UsableRoute(c.Providers))
}
