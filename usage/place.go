package usage

import (
	"bytes"
	"strings"

	"github.com/postern-proxy/postern/wire"
)

// modelRoute is how the control plane names the routes of models.
const modelRoute = "model/"

// providers are how it names the clusters of providers. Envoy's log has an attempt's
// own where one goes on to others.
var providers = []string{wire.ClusterProvider, wire.ClusterGuarded, wire.ClusterWatched, wire.ClusterSink}

// aim is what a cluster's name says.
type aim struct{ provider, account, model, pattern string }

// target reads a cluster's name: provider/NAME[#KEY][@[MODEL]][=MODEL][<PATTERN], where
// KEY is which of the provider's keys it has, and @ says that it writes the path. model
// is the provider's own name for the model and may hold a *, which stands for what the *
// of the entry's pattern does. provider is empty for every other cluster.
func target(cluster string) aim {
	rest, ok := "", false
	for _, prefix := range providers {
		if rest, ok = strings.CutPrefix(cluster, prefix); ok {
			break
		}
	}
	if !ok {
		return aim{}
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "#@="); i >= 0 {
		end = i
	}
	provider, rest := rest[:end], rest[end:]
	account := ""
	if strings.HasPrefix(rest, "#") {
		after := strings.TrimLeft(rest[1:], "0123456789")
		account, rest = rest[1:len(rest)-len(after)], strings.TrimLeft(after, "!") // whether answers are held
	}
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "@"), "=")
	model, pattern, _ := strings.Cut(rest, "<")
	return aim{provider: clean(provider, maxName), account: clean(account, maxID), model: clean(model, maxName), pattern: clean(pattern, maxName)}
}

// fill puts into a target's name what the entry's * stood for in the name asked.
func fill(model, pattern, asked string) string {
	stem, isPattern := strings.CutSuffix(pattern, "*")
	rest, fits := strings.CutPrefix(asked, stem)
	if !isPattern || !fits || asked == "" {
		return model
	}
	return clean(strings.Replace(model, "*", rest, 1), maxName)
}

// operations are known by the end of their path, because a provider may have a base
// path of its own.
var operations = []struct {
	suffix   []byte
	endpoint Endpoint
}{
	{[]byte("/chat/completions"), Chat},
	{[]byte("/completions"), Completions},
	{[]byte("/embeddings"), Embeddings},
	{[]byte("/responses"), Responses},
}

func endpointOf(path []byte) Endpoint {
	if at := bytes.IndexByte(path, '?'); at >= 0 {
		path = path[:at]
	}
	for _, known := range operations {
		if bytes.HasSuffix(path, known.suffix) {
			return known.endpoint
		}
	}
	return Other
}
