package set

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Weights are what the targets of one group get, by provider. Where a provider
// stands in a group more than once, its targets are named provider/model.
type Weights map[string]int

// Reweigh changes the weights of one group of a route and nothing else: every other
// byte of the text stays, comments included. at leads to the route ("models",
// "gpt-4o", "route" in a document; "route" in a part). group counts from 1; 0 is the
// one group that has all these providers. All targets of the group must be named, so
// that nobody is surprised by what the rest gets.
func Reweigh(text []byte, at []string, group int, weights Weights) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil || len(document.Content) != 1 {
		return nil, errors.New("the text is not YAML")
	}
	route, err := find(document.Content[0], at)
	if err != nil {
		return nil, err
	}
	if route.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%s is no list of groups", strings.Join(at, "."))
	}
	groups := make([][]aim, len(route.Content))
	for i, node := range route.Content {
		if groups[i], err = aims(node); err != nil {
			return nil, fmt.Errorf("group %d: %w", i+1, err)
		}
	}
	chosen, err := choose(groups, group, weights)
	if err != nil {
		return nil, err
	}
	edits, err := weigh(chosen, weights)
	if err != nil {
		return nil, err
	}
	return newEditor(text).apply(edits)
}

// find follows keys from a mapping.
func find(n *yaml.Node, at []string) (*yaml.Node, error) {
	for i, step := range at {
		next := value(n, step)
		if next == nil {
			return nil, fmt.Errorf("there is no %s", strings.Join(at[:i+1], "."))
		}
		if next.Kind == yaml.AliasNode {
			return nil, fmt.Errorf("%s is an alias (*%s): edit the text by hand", strings.Join(at[:i+1], "."), next.Value)
		}
		n = next
	}
	return n, nil
}

// value is the value of a mapping's key; nil if it has none.
func value(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// aim is one target of a group.
type aim struct {
	provider, model string
	node            *yaml.Node
}

func aims(group *yaml.Node) ([]aim, error) {
	if group.Kind != yaml.SequenceNode {
		return nil, errors.New("is no list of targets: edit the text by hand")
	}
	var all []aim
	for _, target := range group.Content {
		provider, model := value(target, "provider"), value(target, "model")
		if target.Kind != yaml.MappingNode || provider == nil {
			return nil, errors.New("has a target that is no plain mapping: edit the text by hand")
		}
		a := aim{provider: provider.Value, node: target}
		if model != nil {
			a.model = model.Value
		}
		all = append(all, a)
	}
	return all, nil
}

// answers says that a target is the one that a name means.
func (a aim) answers(name string) bool {
	provider, model, whole := strings.Cut(name, "/")
	return a.provider == provider && (!whole || a.model == model)
}

// choose finds the group that the weights are for.
func choose(groups [][]aim, number int, weights Weights) ([]aim, error) {
	if len(weights) == 0 {
		return nil, errors.New("no weights were given: openai=50 bedrock=50, for one")
	}
	if number < 0 || number > len(groups) {
		return nil, fmt.Errorf("there is no group %d: the route has %d", number, len(groups))
	}
	if number > 0 {
		return groups[number-1], unknown(groups[number-1:number], weights)
	}
	if err := unknown(groups, weights); err != nil {
		return nil, err
	}
	var found [][]aim
	var numbers []string
	for i, group := range groups {
		if unknown([][]aim{group}, weights) == nil {
			found = append(found, group)
			numbers = append(numbers, strconv.Itoa(i+1))
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("no one group has all of %s", strings.Join(slices.Sorted(maps.Keys(weights)), ", "))
	default:
		return nil, fmt.Errorf("the groups %s have them: say which with --group", strings.Join(numbers, " and "))
	}
}

// unknown says which name is none of these groups' targets.
func unknown(groups [][]aim, weights Weights) error {
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		known := slices.ContainsFunc(groups, func(group []aim) bool {
			return slices.ContainsFunc(group, func(a aim) bool { return a.answers(name) })
		})
		if !known {
			return fmt.Errorf("the route has no provider %q: it has %s", name, strings.Join(providers(groups), ", "))
		}
	}
	return nil
}

func providers(groups [][]aim) []string {
	seen := map[string]bool{}
	for _, group := range groups {
		for _, a := range group {
			seen[a.provider] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func weigh(group []aim, weights Weights) ([]edit, error) {
	used := map[string]int{}
	var edits []edit
	sum := 0
	for _, a := range group {
		names := slices.DeleteFunc([]string{a.provider + "/" + a.model, a.provider}, func(name string) bool {
			_, given := weights[name]
			return !given
		})
		if len(names) == 0 {
			return nil, fmt.Errorf("the group has %s too: give it a weight, 0 to leave it out", a.provider)
		}
		used[names[0]]++
		if used[names[0]] > 1 {
			return nil, fmt.Errorf("%s stands in the group more than once: name its targets as %s/MODEL", a.provider, a.provider)
		}
		weight := weights[names[0]]
		sum += weight
		e, err := a.weigh(weight)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
	if sum == 0 {
		return nil, errors.New("all weights are 0: nothing would be sent here")
	}
	return edits, nil
}

// weigh is the edit that gives a target a weight.
func (a aim) weigh(weight int) (edit, error) {
	number := strconv.Itoa(weight)
	if old := value(a.node, "weight"); old != nil {
		if old.Kind != yaml.ScalarNode || old.Style != 0 {
			return edit{}, fmt.Errorf("the weight of %s is not written as a plain number: edit the text by hand", a.provider)
		}
		return edit{line: old.Line, column: old.Column, length: len(old.Value), text: number}, nil
	}
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		key, provider := a.node.Content[i], a.node.Content[i+1]
		switch {
		case key.Value != "provider":
		case a.node.Style&yaml.FlowStyle != 0 && provider.Style == 0 && provider.Kind == yaml.ScalarNode:
			return edit{line: provider.Line, column: provider.Column + utf8.RuneCountInString(provider.Value), text: ", weight: " + number}, nil
		case a.node.Style&yaml.FlowStyle != 0:
			return edit{line: key.Line, column: key.Column, text: "weight: " + number + ", "}, nil
		case provider.Kind == yaml.ScalarNode && provider.Line == key.Line:
			return edit{line: key.Line, lineEnd: true, text: "\n" + strings.Repeat(" ", key.Column-1) + "weight: " + number}, nil
		}
	}
	return edit{}, fmt.Errorf("the target %s is not written plainly: edit the text by hand", a.provider)
}

// ParseWeights reads openai=50 bedrock=50.
func ParseWeights(args []string) (Weights, error) {
	weights := Weights{}
	for _, arg := range args {
		name, number, ok := strings.Cut(arg, "=")
		weight, err := strconv.Atoi(number)
		switch {
		case !ok || name == "" || err != nil || weight < 0:
			return nil, fmt.Errorf("%q is no weight: write PROVIDER=NUMBER, such as openai=50", arg)
		case weight > 1_000_000:
			return nil, fmt.Errorf("%q: a weight is at most 1000000", arg)
		}
		if _, twice := weights[name]; twice {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		weights[name] = weight
	}
	return weights, nil
}
