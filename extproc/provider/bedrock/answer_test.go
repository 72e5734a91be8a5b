package bedrock

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

var updateAnswers = flag.Bool("update-answers", false, "rewrite the golden files of answers and streams")

// when is the time at which every answer in a test is made.
var when = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// TestAnswers holds whole answers against files. Each says in its first lines what it
// guards, and has these parts:
//
//	asked    what the request asked for: "form chat", "json", a word or two a line
//	status   of Bedrock's answer, 200 if it is not there
//	header   of Bedrock's answer, a "name: value" a line
//	body     of Bedrock's answer
//	reply    what the client gets; a body of JSON is indented
//
// go test ./extproc/provider/bedrock -run Answers -update-answers writes the replies anew.
func TestAnswers(t *testing.T) {
	eachGolden(t, "testdata/answers/*.txtar", leastAnswers, "reply", func(t *testing.T, archive *txtar.Archive) string {
		t.Helper()
		status := 200
		if text := archivePart(archive, "status"); text != "" {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			require.NoError(t, err)
			status = n
		}
		r := Answer(askedOf(t, archive), status, headersOf(archive), []byte(archivePart(archive, "body")), when, "42")
		return replyText(t, r)
	})
}

// How many files there are at least: one that is gone is missed.
const (
	leastAnswers = 85
	leastStreams = 80
)

// eachGolden runs play on every file and compares what it gives with the part want.
func eachGolden(t *testing.T, pattern string, least int, want string, play func(*testing.T, *txtar.Archive) string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), least, "a golden conversation is gone")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			require.NotEmpty(t, strings.TrimSpace(string(archive.Comment)), "the file does not say what it guards")
			got := play(t, archive)
			if *updateAnswers {
				setPart(archive, want, got)
				require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o600))
			}
			assert.Equal(t, archivePart(archive, want), got, "run with -update-answers, and read the difference")
		})
	}
}

func archivePart(archive *txtar.Archive, name string) string {
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setPart(archive *txtar.Archive, name, text string) {
	for i := range archive.Files {
		if archive.Files[i].Name == name {
			archive.Files[i].Data = []byte(text)
			return
		}
	}
	archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(text)})
}

func askedOf(t *testing.T, archive *txtar.Archive) Asked {
	t.Helper()
	a := Asked{Operation: Converse, Form: Chat, Model: "assistant"}
	for line := range strings.Lines(archivePart(archive, "asked")) {
		word, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "form":
			forms := map[string]Form{"chat": Chat, "completions": Completions, "embeddings": Embeddings, "responses": Responses}
			require.Contains(t, forms, value)
			a.Form = forms[value]
		case "operation":
			operations := map[string]Operation{"converse": Converse, "converse-stream": ConverseStream, "invoke": Invoke}
			require.Contains(t, operations, value)
			a.Operation = operations[value]
		case "model":
			a.Model = value
		case "include_usage":
			a.IncludeUsage = true
		case "base64":
			a.Base64 = true
		case "json":
			a.JSON = true
		default:
			require.Fail(t, "not a word of asked: "+word)
		}
	}
	return a
}

func headersOf(archive *txtar.Archive) func(string) string {
	values := map[string]string{}
	for line := range strings.Lines(archivePart(archive, "header")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		values[name] = strings.TrimSpace(value)
	}
	return func(name string) string { return values[name] }
}

// replyText is a reply as a file has it.
func replyText(t *testing.T, r Reply) string {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintln(&b, r.Status)
	for _, h := range r.Header {
		fmt.Fprintf(&b, "%s: %s\n", h.Name, h.Value)
	}
	require.True(t, json.Valid(r.Body), "%s", r.Body)
	require.NoError(t, json.Indent(&b, r.Body, "", "  "))
	b.WriteByte('\n')
	if r.Usage != nil {
		fmt.Fprintf(&b, "usage: %+v\n", *r.Usage)
	}
	if r.Odd != "" {
		fmt.Fprintf(&b, "odd: %s\n", r.Odd)
	}
	assert.Equal(t, r.Status != 200, r.Err != nil)
	if r.Err != nil {
		fmt.Fprintf(&b, "log: %s\n", r.Err)
	}
	return b.String()
}
