package bedrock_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/postern-proxy/postern/extproc/provider/bedrock"
	"github.com/postern-proxy/postern/fault"
)

// How many files of requests there are at least, and how many of them become calls.
const (
	leastRequests = 206
	leastCalls    = 75
)

var updateRequests = flag.Bool("update-requests", false, "rewrite testdata/requests")

// TestRequests holds Request against the files of testdata/requests. Each says in its
// first lines what it guards, and has these parts:
//
//	config   "name: value" lines: model; path, if not that of chat; fields, a list;
//	         images, what a remote image is ("png", "large", "text", "away")
//	request  the client's body
//	call     path, what the answer's side is told, and the body: as it is written,
//	         but for the white space between its parts
//	error    in the call's place: kind, param and message
//
// go test ./extproc/provider/bedrock -run TestRequests -update-requests writes calls
// and errors anew.
func TestRequests(t *testing.T) {
	files, err := filepath.Glob("testdata/requests/*.txtar")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), leastRequests, "a golden conversation is gone")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			require.NotEmpty(t, strings.TrimSpace(string(archive.Comment)), "the file does not say what it guards")
			require.GreaterOrEqual(t, len(archive.Files), 2)
			require.Equal(t, "config", archive.Files[0].Name)
			require.Equal(t, "request", archive.Files[1].Name)
			name, got := play(t, string(archive.Files[0].Data), archive.Files[1].Data)
			if *updateRequests {
				archive.Files = append(archive.Files[:2:2], txtar.File{Name: name, Data: []byte(got)})
				require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o600))
			}
			require.Len(t, archive.Files, 3, "run with -update-requests")
			assert.Equal(t, archive.Files[2].Name, name)
			assert.Equal(t, string(archive.Files[2].Data), got, "run with -update-requests, and read the difference")
		})
	}
}

// play gives what becomes of a request, and whether that is a call or an error.
func play(t *testing.T, config string, body []byte) (name, got string) {
	t.Helper()
	in := inputOf(t, config, body)
	before := bytes.Clone(body)
	call, err := bedrock.Request(in)
	assert.Equal(t, string(before), string(body), "the body was changed")
	if err != nil {
		e, ok := errors.AsType[*fault.Error](err)
		require.True(t, ok, "%v", err)
		return "error", fmt.Sprintf("%s\n%s\n%s\n", e.Kind, e.Param, e.Message)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s\n%s\n", call.Path, told(call.Asked))
	require.NoError(t, json.Indent(&out, call.Body, "", "  "), "%s", call.Body)
	out.WriteByte('\n')
	return "call", out.String()
}

// inputOf is what a file's config and request are for Request.
func inputOf(t *testing.T, config string, body []byte) bedrock.Input {
	t.Helper()
	in := bedrock.Input{Path: "/v1/chat/completions", Body: body}
	for line := range strings.Lines(config) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		require.True(t, ok, "not a line of config: %s", line)
		switch key {
		case "model":
			in.Model = value
		case "path":
			in.Path = value
		case "fields":
			in.Settings.Fields = strings.Fields(value)
		case "images":
			in.Settings.Images = images(value)
		default:
			require.Fail(t, "unknown config", key)
		}
	}
	return in
}

// images is a fetcher that has one image.
func images(what string) func(string) ([]byte, error) {
	return func(string) ([]byte, error) {
		switch what {
		case "png":
			return []byte("\x89PNG\r\n\x1a\n...."), nil
		case "large":
			return append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 15<<18)...), nil
		case "text":
			return []byte("<html></html>"), nil
		default:
			return nil, fault.New("images.Fetch", fault.UpstreamTimeout, "secret words of the fetcher")
		}
	}
}

func told(a bedrock.Asked) string {
	out := fmt.Sprintf("operation %d, form %d, model %s", a.Operation, a.Form, a.Model)
	for _, one := range []struct {
		on   bool
		name string
	}{{a.Stream, "stream"}, {a.IncludeUsage, "usage"}, {a.Base64, "base64"}, {a.JSON, "json"}} {
		if one.on {
			out += ", " + one.name
		}
	}
	return out
}
