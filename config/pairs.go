package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// pair is one entry of a mapping.
type pair struct {
	name       string
	key, value *yaml.Node
}

// pairs lists a mapping's entries in order, merged ones (<<) last. Of keys that
// stand there twice the first counts.
func (d *decoder) pairs(p path, n *yaml.Node) []pair {
	var found []pair
	seen := map[string]int{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := target(n.Content[i]), n.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			merges = append(merges, value)
			continue
		}
		name, ok := d.name(p, n.Content[i])
		if !ok {
			continue
		}
		if line, twice := seen[name]; twice {
			d.problemAtf(n.Content[i], p.key(name), "stands here a second time: the first is in line %d", line)
			continue
		}
		seen[name] = n.Content[i].Line
		found = append(found, pair{name, n.Content[i], value})
	}
	for _, merge := range merges {
		found = d.merge(p, merge, found, seen, 0)
	}
	return found
}

// merge adds the entries of a merge key's mapping, or list of mappings, that are
// not there yet.
func (d *decoder) merge(p path, n *yaml.Node, found []pair, seen map[string]int, depth int) []pair {
	const deepest = 8 // an anchor may contain itself
	source := target(n)
	d.nodes++
	switch {
	case depth > deepest:
		d.problemAtf(n, p, "the merges (<<) go too deep")
	case d.nodes > maxNodes:
	case source.Kind == yaml.SequenceNode:
		for _, item := range source.Content {
			found = d.merge(p, item, found, seen, depth+1)
		}
	case source.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(source.Content); i += 2 {
			d.nodes++
			key, value := target(source.Content[i]), source.Content[i+1]
			if key.ShortTag() == "!!merge" {
				found = d.merge(p, value, found, seen, depth+1)
				continue
			}
			if _, known := seen[key.Value]; known || key.Kind != yaml.ScalarNode {
				continue
			}
			seen[key.Value] = key.Line
			found = append(found, pair{key.Value, source.Content[i], value})
		}
	default:
		d.problemAtf(n, p, "what is merged with << must be a mapping or a list of mappings")
	}
	return found
}

// name is a key's text; a key that is not text is a mistake.
func (d *decoder) name(p path, n *yaml.Node) (string, bool) {
	key := target(n)
	switch {
	case key.Kind != yaml.ScalarNode:
		d.problemAtf(n, p, "a key must be text")
	case key.ShortTag() != "!!str":
		d.problemAtf(n, p, "the key %s must be text: put it in quotes", path("").key(key.Value))
	case strings.Contains(key.Value, "${"):
		d.problemAtf(n, p, "a key cannot contain ${…}: only values can come from the environment")
	default:
		return key.Value, true
	}
	return "", false
}
