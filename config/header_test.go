package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestHeadersOfProviders: none that is the client's or the connection's, and none that
// would show a credential.
func TestHeadersOfProviders(t *testing.T) {
	for why, names := range map[string]string{
		isCredential: "Authorization Proxy-Authorization Cookie api-key X-Api-Key x-goog-api-key Ocp-Apim-Subscription-Key " +
			"X-Auth-Token X-Auth Helicone-Auth cf-aig-authorization x-portkey-virtual-key X-ApiKey X_Secret x-client-secret " +
			"X-AccessToken X-Password X-Vault-Token X-Token-Id private_key X-User-Credentials",
		"is the client's": "Content-Type Accept User-Agent ACCEPT-ENCODING Expect traceparent",
		"set by the gate": "Host X-Request-Id Content-Length",
		"the connection":  "Upgrade TE",
		"the gate's own":  "x-postern-user X-Envoy-Max-Retries",
		"": "OpenAI-Organization OpenAI-Project OpenAI-Beta HTTP-Referer X-Title anthropic-version X-Max-Tokens " +
			"X-Goog-User-Project X-Author X-Keyboard X-Key-Version X-Monkey",
	} {
		for name := range strings.FieldsSeq(names) {
			text := "providers: {p: {schema: openai, url: 'https://p/v1', headers: {" + name + ": v-secret}}}\nmodels: {m: {route: [[{provider: p}]]}}"
			if why == "" {
				parse(t, text, Env{})
				continue
			}
			problems := refused(t, text, Env{})
			require.Len(t, problems, 1, name)
			assert.Contains(t, problems[0].String(), "providers.p.headers."+name+": ")
			assert.Contains(t, problems[0].String(), why, name)
			assert.NotContains(t, problems[0].String(), "v-secret")
		}
	}
}
