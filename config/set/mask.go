package set

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/postern-proxy/postern/config"
)

// Masked are parts that can be shown to anyone. A valid set holds references and no
// secret; one that somebody wrote by hand may hold a real key, which is then left out.
func Masked(parts []Part) []Part {
	masked := slices.Clone(parts)
	for i, p := range masked {
		var document yaml.Node
		if err := yaml.Unmarshal([]byte(p.Text), &document); err != nil {
			masked[i].Text = "# not shown: this is not YAML\n"
			continue
		}
		if mask(&document) {
			w := &writer{}
			masked[i].Text = w.part(p.Section, p.Entry, document.Content[0]).Text
		}
	}
	return masked
}

// secretKeys are the keys whose values are secrets.
var secretKeys = []string{"key", "certificate", "secret", "password", "token"}

// mask replaces what stands for a secret and is no reference to one; true if there was
// any.
func mask(n *yaml.Node) bool {
	found := false
	for i, child := range n.Content {
		found = mask(child) || found
		if n.Kind != yaml.MappingNode || i%2 == 0 || child.Kind != yaml.ScalarNode {
			continue
		}
		if slices.Contains(secretKeys, strings.ToLower(n.Content[i-1].Value)) && config.CheckReference(child.Value) != nil {
			*child = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "(not shown: it is no reference)", Style: yaml.DoubleQuotedStyle}
			found = true
		}
	}
	return found
}
