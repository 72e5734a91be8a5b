package config

import (
	"slices"
	"strings"
)

// ownHeaders are set by the gate or by the connection: setting them would break a
// request or forge who sent it. Others are the client's, and would be taken from its
// requests to all other providers, since no attempt may tell the next what one provider
// was told.
var ownHeaders = map[string][]string{
	"is set by the gate": {"host", "content-length", "x-request-id"},
	"is the client's: set for one provider, it would be taken from requests to all others": {
		"accept", "accept-charset", "accept-encoding", "accept-language", "content-encoding", "content-language",
		"content-type", "date", "expect", "range", "traceparent", "tracestate", "user-agent",
	},
	"belongs to the connection": {
		"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade",
	},
}

// isCredential is why a header may not hold one: they are shown in clear where keys are
// not, in Envoy's configuration.
const isCredential = "is a credential, and headers are not kept secret: use key" //nolint:gosec // a sentence

// Words of headers' names that say so: anywhere in a name, and at its end.
var (
	secretWords = []string{
		"auth", "authentication", "authorization", "bearer", "cookie", "credential", "credentials", "jwt",
		"passwd", "password", "pwd", "secret", "signature", "token",
	}
	secretEnds = []string{"apikey", "accesskey", "authkey", "secretkey", "token", "secret", "password"}
)

// notForOthers says why a header, in lower case, may not be set; empty if it may.
func notForOthers(name string) string {
	for why, names := range ownHeaders {
		if slices.Contains(names, name) {
			return why
		}
	}
	switch {
	case strings.HasPrefix(name, "x-postern-") || strings.HasPrefix(name, "x-envoy-"):
		return "is the gate's own"
	case namesCredential(name):
		return isCredential
	}
	return ""
}

// namesCredential says that a header's name, in lower case, is one of a credential.
func namesCredential(name string) bool {
	words := strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	if len(words) > 0 && words[len(words)-1] == "key" {
		return true
	}
	return slices.ContainsFunc(words, func(word string) bool {
		return slices.Contains(secretWords, word) ||
			slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(word, end) })
	})
}
