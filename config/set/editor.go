package set

import (
	"errors"
	"slices"
	"unicode/utf8"
)

// edit replaces the characters of a line.
type edit struct {
	line, column int // from 1; columns in characters
	length       int // in bytes
	text         string
	lineEnd      bool // at the end of the line instead
}

// editor applies edits to a text.
type editor struct {
	text  []byte
	lines []int // where each begins
}

func newEditor(text []byte) *editor {
	e := &editor{text: text, lines: []int{0}}
	for i, c := range text {
		if c == '\n' {
			e.lines = append(e.lines, i+1)
		}
	}
	return e
}

// offset is where a character stands, in bytes.
func (e *editor) offset(line, column int) (int, error) {
	if line < 1 || line > len(e.lines) {
		return 0, errors.New("the text has a place that cannot be edited")
	}
	at := e.lines[line-1]
	for range column - 1 {
		if at >= len(e.text) {
			return 0, errors.New("the text has a place that cannot be edited")
		}
		_, size := utf8.DecodeRune(e.text[at:])
		at += size
	}
	return at, nil
}

// end is where a line ends, without its newline.
func (e *editor) end(line int) int {
	end := len(e.text)
	if line < len(e.lines) {
		end = e.lines[line] - 1
	}
	if end > 0 && e.text[end-1] == '\r' {
		end--
	}
	return end
}

// apply makes the edits, the last first, so that the places of the others stay.
func (e *editor) apply(edits []edit) ([]byte, error) {
	type change struct {
		at, length int
		text       string
	}
	var changes []change
	for _, edit := range edits {
		at, err := e.offset(edit.line, max(edit.column, 1))
		if err != nil {
			return nil, err
		}
		if edit.lineEnd {
			at = e.end(edit.line)
		}
		changes = append(changes, change{at, edit.length, edit.text})
	}
	slices.SortFunc(changes, func(a, b change) int { return b.at - a.at })
	text := slices.Clone(e.text)
	for _, c := range changes {
		if c.at+c.length > len(text) {
			return nil, errors.New("the text has a place that cannot be edited")
		}
		text = slices.Concat(text[:c.at], []byte(c.text), text[c.at+c.length:])
	}
	return text, nil
}

// line is the text of a line, from 1, without its end.
func (e *editor) line(number int) string { return string(e.text[e.lines[number-1]:e.end(number)]) }
