package usage

import "strings"

// How the control plane names clusters and routes.
const (
	providerCluster = "provider/"
	modelRoute      = "model/"
)

// target reads a cluster's name: provider/NAME[=MODEL[<PATTERN]]. model is the
// provider's own name for the model and may hold a *, which stands for what the * of
// the entry's pattern does. provider is empty for every other cluster.
func target(cluster string) (provider, model, pattern string) {
	rest, ok := strings.CutPrefix(cluster, providerCluster)
	if !ok {
		return "", "", ""
	}
	provider, rest, _ = strings.Cut(rest, "=")
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
