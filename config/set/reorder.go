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
// order, all of them. Groups that stand below each other with a dash (-) keep their lines
// and their comments; of a route in brackets the groups alone are moved, and what stands
// between them stays.
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
	move := e.reorderLines
	if route.Style&yaml.FlowStyle != 0 {
		move = e.reorderBrackets
	}
	changed, err := move(route, order)
	if err != nil {
		return nil, err
	}
	if err := reordered(text, changed, at, order); err != nil {
		return nil, err
	}
	return changed, nil
}

var errByHand = errors.New("the groups are written in a way that cannot be moved: edit the text by hand")

// reorderLines moves groups that stand on lines of their own.
func (e *editor) reorderLines(route *yaml.Node, order []int) ([]byte, error) {
	groups := len(order)
	begins := make([]int, groups+1)
	for i, group := range route.Content {
		begins[i] = group.Line
		if i > 0 && begins[i] == begins[i-1] || !strings.HasPrefix(strings.TrimSpace(e.line(group.Line)), "- ") {
			return nil, errByHand
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
	return slices.Concat(e.text[:from], []byte(strings.TrimSuffix(moved.String(), "\n")), e.text[to:]), nil
}

// reorderBrackets moves groups that stand between brackets: [[…], […]].
func (e *editor) reorderBrackets(route *yaml.Node, order []int) ([]byte, error) {
	var begins, ends []int
	for _, group := range route.Content {
		begin, err := e.offset(group.Line, group.Column)
		if err != nil {
			return nil, err
		}
		end := closing(e.text, begin)
		if end < 0 {
			return nil, errByHand // an alias, for one
		}
		begins, ends = append(begins, begin), append(ends, end)
	}
	var changed []byte
	from := 0
	for i, number := range order {
		changed = append(changed, e.text[from:begins[i]]...)
		changed = append(changed, e.text[begins[number-1]:ends[number-1]]...)
		from = ends[i]
	}
	return append(changed, e.text[from:]...), nil
}

// closing is where a bracket's group ends, behind its bracket; -1 if no bracket begins
// there. Whoever moves by it compares what came of it: YAML has ways to mislead it.
func closing(text []byte, begin int) int { //nolint:cyclop // one state of a reader a case
	if begin >= len(text) || text[begin] != '[' {
		return -1
	}
	depth := 0
	before := byte('[') // the last that is no white space
	for i := begin; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case (c == '"' || c == '\'') && strings.IndexByte("[{,:", before) >= 0:
			i = quoted(text, i)
		case c == '#' && i > 0 && strings.IndexByte(" \t\n", text[i-1]) >= 0:
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
			continue
		}
		if depth == 0 {
			return i + 1
		}
		if strings.IndexByte(" \t\r\n", c) < 0 {
			before = c
		}
	}
	return -1
}

// reordered says when a new text is anything but the old one with its groups in
// another order: a text may be written in ways that lines do not tell.
func reordered(before, after []byte, at []string, order []int) error {
	var whole [2]any
	var routes [2][]any
	for i, text := range [][]byte{before, after} {
		if err := yaml.Unmarshal(text, &whole[i]); err != nil {
			return errByHand
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
		return errByHand
	}
	return nil
}

// quoted is where a quoted text ends, at its last quote.
func quoted(text []byte, begin int) int {
	for i := begin + 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && text[begin] == '"':
			i++
		case text[i] == text[begin] && text[begin] == '\'' && i+1 < len(text) && text[i+1] == '\'':
			i++
		case text[i] == text[begin]:
			return i
		}
	}
	return len(text)
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
