package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestResolvers(t *testing.T) {
	const rest = "\nproviders: {p: {schema: openai, url: 'https://p/v1'}}\nmodels: {m: {route: [[{provider: p}]]}}"
	assert.Empty(t, parse(t, rest, Env{}).Providers["p"].Resolvers())
	c := parse(t, "dns: {resolvers: [10.0.0.2, '10.0.0.3:5353', '2001:DB8::1', '[::1]:54']}"+rest, Env{})
	want := []string{"10.0.0.2:53", "10.0.0.3:5353", "[2001:db8::1]:53", "[::1]:54"}
	assert.Equal(t, want, c.DNS.Resolvers)
	assert.Equal(t, want, c.Providers["p"].Resolvers())
	const form = "must be an IP address, with a port or without, such as 10.0.0.2 or 10.0.0.2:5353"
	for text, problem := range map[string]string{
		"resolvers: [dns.example]":             "dns.resolvers[0]: " + form,
		"resolvers: ['10.0.0.2:0']":            "dns.resolvers[0]: " + form,
		"resolvers: ['fe80::1%eth0']":          "dns.resolvers[0]: " + form,
		"resolvers: [10.0.0.2, '10.0.0.2:53']": "dns.resolvers[1]: stands here twice",
		"resolvers: [a, 1.1.1.1]":              "dns.resolvers[0]: " + form,
		"resolver: 10.0.0.2":                   `dns.resolver: unknown key, did you mean "resolvers"?`,
		"resolvers: [1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9]": "dns.resolvers: has more than 8",
	} {
		problems := refused(t, "dns: {"+text+"}"+rest, Env{})
		require.Len(t, problems, 1, text)
		assert.Contains(t, problems[0].String(), problem)
	}
}
