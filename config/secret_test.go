package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// Whatever prints a Secret, on its own or deep inside something else, shows where it
// comes from and never what it is.
func TestNothingPrintsASecret(t *testing.T) {
	secret := NewSecret("${OPENAI_API_KEY}", secretValue)
	require.Equal(t, secretValue, secret.Reveal())
	type hidden struct{ secret Secret } // fmt cannot call the methods of this one
	holders := map[string]any{
		"value": secret, "pointer": &secret, "struct": struct{ Key Secret }{secret}, "hidden": hidden{secret},
		"hidden pointer": &hidden{secret}, "map": map[string]Secret{"a": secret}, "slice": []Secret{secret}, "any": []any{secret},
		"provider": &Provider{Key: secret}, "config": &Config{Providers: map[string]*Provider{"p": {Key: secret}}},
		"listen": Listen{TLS: &TLS{Certificate: secret, Key: secret}},
	}
	for name, holder := range holders {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10v", "%T", "%p"} {
				assertHides(t, fmt.Sprintf(verb, holder), verb)
			}
			assertHides(t, fmt.Sprint(holder)+fmt.Sprintln(holder), "Print")
			assertHides(t, fmt.Errorf("refused: %v: %w", holder, errors.New("x")).Error(), "error")
			text, err := json.Marshal(holder)
			require.NoError(t, err)
			assertHides(t, string(text), "JSON")
			text, err = yaml.Marshal(holder)
			require.NoError(t, err)
			assertHides(t, string(text), "YAML")

			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("text", "holder", holder, slog.Group("g", "holder", holder))
			slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "holder", holder, slog.Group("g", "holder", holder))
			assertHides(t, log.String(), "slog")
		})
	}
}

func assertHides(t *testing.T, printed, how string) {
	t.Helper()
	assert.NotContains(t, printed, secretValue, how)
	assert.NotContains(t, printed, fmt.Sprintf("%x", secretValue), how)
	assert.NotContains(t, printed, fmt.Sprintf("%X", secretValue), how)
}

func TestSecretShowsItsReference(t *testing.T) {
	secret := NewSecret("file:/run/key", secretValue)
	assert.Equal(t, "file:/run/key", fmt.Sprint(secret))
	assert.Equal(t, "file:/run/key", secret.String())
	assert.Equal(t, `config.Secret("file:/run/key")`, fmt.Sprintf("%#v", secret))
	text, err := json.Marshal(Provider{Schema: "openai", Key: secret})
	require.NoError(t, err)
	assert.Contains(t, string(text), `"key":"file:/run/key"`)
	text, err = yaml.Marshal(Provider{Schema: "openai", Key: secret})
	require.NoError(t, err)
	assert.Contains(t, string(text), "key: file:/run/key")
	assert.Equal(t, "file:/run/key", secret.LogValue().String())
}

func TestSecretFromText(t *testing.T) {
	var secret Secret
	require.NoError(t, json.Unmarshal([]byte(`"${KEY}"`), &secret))
	assert.True(t, secret.Missing())
	assert.Equal(t, "${KEY}", secret.Ref())
	err := yaml.Unmarshal([]byte("sk-"+secretValue), &secret)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), secretValue)
	assert.False(t, Secret{}.Missing())
	assert.True(t, NewSecret("${KEY}", "").Missing())
}

func TestSecretReferences(t *testing.T) {
	env := world(map[string]string{"KEY": secretValue, "LINE": secretValue + "\n", "FOLDER": "/run", "EMPTY": ""},
		map[string]string{"/run/key": secretValue + "\r\n", "empty": "", "plain": secretValue})
	for ref, want := range map[string]string{
		"${KEY}": secretValue, "${LINE}": secretValue, "file:/run/key": secretValue, "file:${FOLDER}/key": secretValue, "file:plain": secretValue,
		"${NONE}": "", "${EMPTY}": "", "file:none": "", "file:empty": "", "file:${NONE}/key": "",
	} {
		c := parse(t, document("url: 'https://x.example/v1', key: '"+ref+"'", "", ""), env)
		key := c.Providers["p"].Key
		assert.Equal(t, ref, key.Ref())
		assert.Equal(t, want, key.Reveal(), ref)
		assert.Equal(t, want == "", key.Missing(), ref)
		assert.Equal(t, want != "", c.Providers["p"].Usable(), ref)
		if want == "" {
			assert.Len(t, c.Warnings(), 2, ref)
		} else {
			assert.Empty(t, c.Warnings(), ref)
		}
	}
	for _, ref := range []string{
		"", "sk-secret-value", "${KEY}x", "x${KEY}", "${KEY}${KEY}", "$${KEY}", "${KEY:-secret-value}", "${KEY:-}", "file:", "ssm:", "ssm:a b", "ssm:/a/", "ssm://a", "${1}", "file:${", " ${KEY}",
	} {
		problems := refused(t, document("url: 'https://x.example/v1', key: '"+ref+"'", "", ""), env)
		require.Len(t, problems, 1, ref)
		assert.Equal(t, "providers.p.key", problems[0].Path)
		assert.NotContains(t, problems.Error(), secretValue)
	}
	for _, bare := range []string{"12345", "true", "1.5", "!!binary c2VjcmV0LXZhbHVl", "{a: secret-value}", "[secret-value]", "2026-01-01"} {
		problems := refused(t, document("url: 'https://x.example/v1', key: "+bare, "", ""), env)
		require.Len(t, problems, 1, bare)
		for _, word := range []string{"12345", "1.5", "c2Vj", "secret-value", "2026"} {
			assert.NotContains(t, problems.Error(), word)
		}
	}
}

func TestKeysMustFitInAHeader(t *testing.T) {
	for _, value := range []string{"a\nb", "a\rb", "a\x00b", "a\n\n", "a\tb", "é", "\xff"} {
		problems := refused(t, document("url: 'https://x.example/v1', key: '${KEY}'", "", ""), world(map[string]string{"KEY": secretValue + value}, nil))
		require.Len(t, problems, 1)
		assert.NotContains(t, problems.Error(), secretValue)
	}
}

func TestKeysOverPlainHTTPAreWarnedOf(t *testing.T) {
	env := world(map[string]string{"KEY": secretValue}, nil)
	for address, warnings := range map[string]int{
		"http://127.0.0.1:1/v1": 0, "http://[::1]/v1": 0, "http://localhost/v1": 0, "https://x.example/v1": 0, "http://x.example/v1": 1, "http://10.0.0.1/v1": 1,
	} {
		c := parse(t, document("url: '"+address+"', key: '${KEY}'", "", ""), env)
		assert.Len(t, c.Warnings(), warnings, address)
	}
	assert.Empty(t, parse(t, document("url: 'http://x.example/v1'", "", ""), env).Warnings(), "no key, nothing to lose")
}

func TestTLSNeedsAPair(t *testing.T) {
	cert, key := certificate(t)
	_, otherKey := certificate(t)
	env := world(map[string]string{"CERT": cert, "KEY": key, "OTHER": otherKey, "TEXT": secretValue}, nil)
	env.Parameter = func(string) (string, error) { return "", fs.ErrNotExist }
	good := parse(t, document("", "", "listen: {tls: {certificate: '${CERT}', key: '${KEY}'}}"), env)
	assert.Contains(t, good.Listen.TLS.Certificate.Reveal(), "BEGIN CERTIFICATE")
	for pair, where := range map[string]string{
		"certificate: '${CERT}', key: '${OTHER}'":     "listen.tls",
		"certificate: '${TEXT}', key: '${KEY}'":       "listen.tls",
		"certificate: '${KEY}', key: '${CERT}'":       "listen.tls",
		"certificate: '${CERT}', key: '${NONE}'":      "listen.tls.key",
		"certificate: 'file:none', key: '${KEY}'":     "listen.tls.certificate",
		"certificate: '${CERT}'":                      "listen.tls.key",
		"certificate: '${CERT}', key: secret-value":   "listen.tls.key",
		"certificate: secret-value, key: '${KEY}'":    "listen.tls.certificate",
		"certificate: '${CERT}', key: 'ssm:/a/key'":   "listen.tls.key",
		"certificate: '${CERT}', key: '${KEY}', a: 1": "listen.tls.a",
	} {
		problems := refused(t, document("", "", "listen: {tls: {"+pair+"}}"), env)
		require.Len(t, problems, 1, pair)
		assert.Equal(t, where, problems[0].Path)
		assert.NotContains(t, problems.Error(), secretValue)
		assert.NotContains(t, problems.Error(), "-----")
	}
}

func TestAuthorities(t *testing.T) {
	cert, key := certificate(t)
	env := world(map[string]string{"WHERE": "file:ca.pem", "FOLDER": "/etc"}, map[string]string{"ca.pem": cert, "/etc/ca.pem": cert, "key.pem": key, "empty": ""})
	for _, ref := range []string{"file:ca.pem", "file:${FOLDER}/ca.pem"} {
		c := parse(t, document("url: 'https://x.example/v1', ca: '"+ref+"'", "", ""), env)
		assert.Equal(t, cert, c.Providers["p"].Authorities(), ref)
	}
	for _, ref := range []string{"", "ca.pem", "file:", "file:none", "file:empty", "file:key.pem", "${WHERE}", "file:${NONE}/ca.pem"} {
		assert.Len(t, refused(t, document("url: 'https://x.example/v1', ca: '"+ref+"'", "", ""), env), 1, ref)
	}
	assert.Len(t, refused(t, document("url: 'http://x.example/v1', ca: 'file:ca.pem'", "", ""), env), 1, "plain http has no certificate to check")
}
