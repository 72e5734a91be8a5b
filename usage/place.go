package usage

import "strings"

// How the control plane names clusters and routes.
const (
	providerCluster = "provider/"
	guardedCluster  = "guarded/" // the same, for attempts that are not the last
	modelRoute      = "model/"
)

// target reads a cluster's name: provider/NAME[#KEY][@[MODEL]][=MODEL][<PATTERN], where
// KEY is which of the provider's keys it has, and @ says that it writes the path. model
// is the provider's own name for the model and may hold a *, which stands for what the *
// of the entry's pattern does. provider is empty for every other cluster.
func target(cluster string) (provider, model, pattern string) {
	rest, ok := strings.CutPrefix(cluster, providerCluster)
	if !ok {
		rest, ok = strings.CutPrefix(cluster, guardedCluster)
	}
	if !ok {
		return "", "", ""
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "#@="); i >= 0 {
		end = i
	}
	provider, rest = rest[:end], rest[end:]
	if strings.HasPrefix(rest, "#") {
		rest = strings.TrimLeft(rest[1:], "0123456789")
	}
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "@"), "=")
	model, pattern, _ = strings.Cut(rest, "<")
	return clean(provider, maxName), clean(model, maxName), clean(pattern, maxName)
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
	suffix   string
	endpoint Endpoint
}{
	{"/chat/completions", Chat},
	{"/completions", Completions},
	{"/embeddings", Embeddings},
	{"/responses", Responses},
}

func endpointOf(path string) Endpoint {
	path, _, _ = strings.Cut(path, "?")
	for _, known := range operations {
		if strings.HasSuffix(path, known.suffix) {
			return known.endpoint
		}
	}
	return Other
}
