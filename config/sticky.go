package config

import (
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// What a request is drawn by, where a model is sticky.
const (
	StickyUser   = "user"    // the user that the API key was made for
	StickyKey    = "key"     // the API key
	stickyHeader = "header:" // and the name of a header
)

// Sticks is the name of the header that a sticky model's requests are drawn by, in
// lower case; empty where the model is not sticky by a header of the client's.
func (m *Model) Sticks() (header string) {
	name, _ := strings.CutPrefix(m.Sticky, stickyHeader)
	if name == m.Sticky {
		return ""
	}
	return strings.ToLower(name)
}

// unsticky are headers that are the gate's own, that are gone before a request is
// drawn, or that say nothing of who asks.
var (
	unsticky         = []string{"authorization", "host", "content-length", "content-type", "connection", "transfer-encoding", "expect", "te", "upgrade"}
	unstickyPrefixes = []string{"x-postern-", "x-envoy-", "x-forwarded-"}
)

func (v *validator) sticky(at path, by string) {
	if !v.given(at) || v.broken(at) || by == StickyUser || by == StickyKey {
		return
	}
	name, isHeader := strings.CutPrefix(by, stickyHeader)
	its := func(prefix string) bool { return strings.HasPrefix(strings.ToLower(name), prefix) }
	switch {
	case !isHeader:
		v.problemf(at, "must be %s, %s or %sNAME", StickyUser, StickyKey, stickyHeader)
	case !httpguts.ValidHeaderFieldName(name) || len(name) > 256:
		v.problemf(at, "%s needs the name of a header, such as %sx-session-id", stickyHeader, stickyHeader)
	case slices.Contains(unsticky, strings.ToLower(name)) || slices.ContainsFunc(unstickyPrefixes, its):
		v.problemf(at, "a request cannot be drawn by this header: take one that the application sets for this")
	}
}
