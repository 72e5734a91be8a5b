package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one mistake in a document, or one thing its author should know.
type Problem struct {
	File    string // as the caller named it
	Path    string // "models.gpt-4o.route[0][1].provider"; empty for the whole document
	Line    int    // from 1; 0 where the mistake has no place
	Column  int    // from 1
	Message string // one sentence, without secrets
}

// String is one line: "postern.yaml:12:7: models.x.route: …".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is everything that is wrong with a document, in its order. As an error
// it is one line a problem.
type Problems []Problem //nolint:errname // "problems" is what they are called everywhere

// Error gives one line a problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted is ps in the order of the document, each once, and no more than a person
// can read.
func (ps Problems) sorted() Problems {
	const most = 100
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	ps = slices.Compact(ps)
	if len(ps) > most {
		more := Problem{File: ps[0].File, Message: fmt.Sprintf("and %d more", len(ps)-most)}
		ps = append(ps[:most:most], more)
	}
	return ps
}

// Path is the path of a place in the document, from keys (string) and positions in
// lists (int): Path("models", "gpt-4.1", "route", 0) is `models."gpt-4.1".route[0]`.
func Path(steps ...any) string {
	var p path
	for _, step := range steps {
		switch step := step.(type) {
		case int:
			p = p.at(step)
		case string:
			p = p.key(step)
		}
	}
	return string(p)
}

// path is a place in the document, as Path writes it.
type path string

// key steps into a mapping. A name that would make the path ambiguous is quoted.
func (p path) key(name string) path {
	if name == "" || strings.ContainsFunc(name, ambiguous) {
		name = strconv.Quote(clip(name))
	}
	if p == "" {
		return path(name)
	}
	return p + "." + path(name)
}

// at steps into a list.
func (p path) at(i int) path { return p + path("["+strconv.Itoa(i)+"]") }

// ambiguous says which runes may not stand bare in a path.
func ambiguous(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`."[]\`, r)
}

// clip keeps a long text from filling a message.
func clip(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// mark is where a value of the document stands, and its text as written: before
// references were replaced, so that a message can quote it.
type mark struct {
	line, column int
	text         string
}

// report collects what is wrong, while marks say where.
type report struct {
	file     string
	parts    map[string]string // path → the file it came from, of a document in parts
	marks    map[string]mark
	problems Problems
	warnings Problems
}

func newReport(file string) *report { return &report{file: file, marks: map[string]mark{}} }

// problemf notes a mistake at a path; a key that is not there is placed at the
// mapping that should have it.
func (r *report) problemf(p path, format string, args ...any) {
	r.add(r.makef(p, format, args...))
}

// problemAtf notes a mistake whose place is a node, where the path alone would lead
// to another one.
func (r *report) problemAtf(n *yaml.Node, p path, format string, args ...any) {
	mistake := r.makef(p, format, args...)
	mistake.Line, mistake.Column = n.Line, n.Column
	r.add(mistake)
}

// add keeps a mistake, up to a number that nobody reads and that takes no time to
// search.
func (r *report) add(mistake Problem) {
	if len(r.problems) < 1000 {
		r.problems = append(r.problems, mistake)
	}
}

// warnf notes what is allowed and yet worth a look.
func (r *report) warnf(p path, format string, args ...any) {
	r.warnings = append(r.warnings, r.makef(p, format, args...))
}

func (r *report) makef(p path, format string, args ...any) Problem {
	m := nearest(r.marks, string(p))
	return Problem{File: r.fileOf(string(p)), Path: string(p), Line: m.line, Column: m.column, Message: fmt.Sprintf(format, args...)}
}

// nearest is the mark of a path, or of the closest thing around it.
func nearest(marks map[string]mark, p string) mark {
	for ; p != ""; p = p[:len(p)-1] {
		if m, ok := marks[p]; ok {
			return m
		}
	}
	return marks[""]
}

// fileOf is the file of a path, or of the closest thing around it.
func (r *report) fileOf(p string) string {
	for ; p != "" && len(r.parts) > 0; p = p[:len(p)-1] {
		if name, ok := r.parts[p]; ok {
			return name
		}
	}
	return r.file
}

// given says that the document has something at a path, right or wrong.
func (r *report) given(p path) bool {
	_, ok := r.marks[string(p)]
	return ok
}

// broken says that a mistake at a path, or inside it, is known already, so that
// nothing is said twice in other words.
func (r *report) broken(p path) bool {
	return slices.ContainsFunc(r.problems, func(known Problem) bool {
		rest, inside := strings.CutPrefix(known.Path, string(p))
		return inside && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// quote is the text at a path as it stands in the document.
func (r *report) quote(p path) string { return strconv.Quote(clip(r.marks[string(p)].text)) }

// closest is ", did you mean …?" for a name that is nearly one of the known ones.
func closest(name string, known []string) string {
	best, distance := "", 3
	for _, candidate := range known {
		if d := editDistance(name, candidate); d < distance && d < len(candidate) {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// editDistance is Levenshtein's, bounded: names much longer than ours are far away.
func editDistance(a, b string) int {
	const far = 64
	if len(a) > far || len(b) > far {
		return far
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
