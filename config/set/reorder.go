package set

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Reorder changes the order of a route's groups: order names them, from 1, in their new
// order, all of them. Each group keeps its lines and its comments; a route whose groups
// do not stand on lines of their own is edited by hand.
func Reorder(text []byte, at []string, order []int) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil || len(document.Content) != 1 {
		return nil, errors.New("the text is not YAML")
	}
	route, err := find(document.Content[0], at)
	if err != nil {
		return nil, err
	}
	groups := len(route.Content)
	if sorted := slices.Sorted(slices.Values(order)); route.Kind != yaml.SequenceNode || !slices.Equal(sorted, counted(groups)) {
		return nil, fmt.Errorf("the route has %d groups: name each once, such as 2 1", groups)
	}
	e := newEditor(text)
	begins := make([]int, groups+1)
	for i, group := range route.Content {
		begins[i] = group.Line
		if route.Style&yaml.FlowStyle != 0 || i > 0 && begins[i] == begins[i-1] || !strings.HasPrefix(strings.TrimSpace(e.line(group.Line)), "- ") {
			return nil, errors.New("the groups do not stand on lines of their own: edit the text by hand")
		}
	}
	begins[groups] = last(route.Content[groups-1]) + 1
	var moved strings.Builder
	for _, number := range order {
		for line := begins[number-1]; line < begins[number]; line++ {
			moved.WriteString(e.line(line) + "\n")
		}
	}
	from, to := e.lines[begins[0]-1], e.end(begins[groups]-1)
	changed := slices.Concat(text[:from], []byte(strings.TrimSuffix(moved.String(), "\n")), text[to:])
	if err := reordered(text, changed, at, order); err != nil {
		return nil, err
	}
	return changed, nil
}

// reordered says when a new text is anything but the old one with its groups in
// another order: a text may be written in ways that lines do not tell.
func reordered(before, after []byte, at []string, order []int) error {
	var whole [2]any
	var routes [2][]any
	for i, text := range [][]byte{before, after} {
		if err := yaml.Unmarshal(text, &whole[i]); err != nil {
			return errors.New("the groups are written in a way that cannot be moved: edit the text by hand")
		}
		value := whole[i]
		for j, step := range at {
			mapping, _ := value.(map[string]any)
			value = mapping[step]
			if j == len(at)-1 {
				routes[i], _ = value.([]any)
				delete(mapping, step)
			}
		}
	}
	if len(routes[0]) != len(order) {
		return errors.New("the route is written in a way that cannot be changed: edit the text by hand")
	}
	moved := make([]any, 0, len(order))
	for _, number := range order {
		moved = append(moved, routes[0][number-1])
	}
	if !reflect.DeepEqual(moved, routes[1]) || !reflect.DeepEqual(whole[0], whole[1]) {
		return errors.New("the groups are written in a way that cannot be moved: edit the text by hand")
	}
	return nil
}

func counted(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	return numbers
}

// last is the last line that a node has something on.
func last(n *yaml.Node) int {
	line := n.Line
	for _, child := range n.Content {
		line = max(line, last(child))
	}
	return line
}
