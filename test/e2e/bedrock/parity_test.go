package bedrock_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/need"
	"github.com/postern-proxy/postern/test/parity"
)

// alike is a gate with all models of the cases, whose fakes know the cases' scripts.
func alike(t *testing.T) (*house, parity.File) {
	t.Helper()
	file, err := parity.Read()
	require.NoError(t, err)
	var models strings.Builder
	for _, name := range slices.Sorted(maps.Keys(file.Models)) {
		if id := file.Models[name]; id != "" {
			models.WriteString(only(name, id))
			continue
		}
		fmt.Fprintf(&models, "  %s: {route: [[{provider: openai}]]}\n", name)
	}
	h := build(t, models.String())
	for _, c := range file.Cases {
		if s := c.Script; s != nil {
			h.openai.ForText(s.Text, openai.Behavior{Content: s.Content, ToolInput: s.Input, Reasoning: s.Reasoning, Calls: s.Calls})
			h.bedrock.ForText(s.Text, fake.Behavior{Content: s.Content, ToolInput: s.Input, Reasoning: s.Reasoning, Calls: s.Calls})
		}
	}
	return h, file
}

// TestOneAssertionFitsAll asks OpenAI's form and each family of Bedrock the same, with
// OpenAI's own clients for Go and for Python.
func TestOneAssertionFitsAll(t *testing.T) {
	h, file := alike(t)
	t.Run("clients", func(t *testing.T) {
		t.Run("Go", func(t *testing.T) { t.Parallel(); h.inGo(t, file) })
		t.Run("Python", func(t *testing.T) { t.Parallel(); h.inPython(t) })
	})
	h.bedrock.NoRefusals(t)
}

func (h *house) inGo(t *testing.T, file parity.File) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	asker := asker{t, sdk.NewClient(option.WithBaseURL(h.URL+"/v1"), option.WithAPIKey(h.Key),
		option.WithHTTPClient(&http.Client{Transport: transport}), option.WithMaxRetries(0))}
	var all sync.WaitGroup
	var checked atomic.Int64
	for model := range file.Models {
		all.Go(func() {
			for _, c := range file.Cases {
				if !slices.Contains(c.Models, model) {
					continue
				}
				for _, way := range c.Ways {
					checked.Add(1)
					for _, wrong := range asker.check(file, c, model, way) {
						t.Errorf("%s, %s, %s: %s", c.Name, model, way, wrong)
					}
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d checks", checked.Load())
	assert.Greater(t, checked.Load(), int64(500), "the file was read")
}

func (h *house) inPython(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need.Python(t, filepath.Join("..", "..", ".."), "openai"), filepath.Join("..", "..", "python", "parity.py"),
		filepath.Join("..", "..", "parity", "cases.json"), h.URL+"/v1", h.Key)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	printed, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", printed)
	t.Logf("%s", printed)
}

// asker is the official client, and how a case is put to it.
type asker struct {
	*testing.T

	client sdk.Client
}

// check asks, and says what is not as the file has it.
func (a asker) check(file parity.File, c parity.Case, model, way string) []string {
	request := map[string]any{}
	if err := json.Unmarshal(c.Request, &request); err != nil {
		return []string{err.Error()}
	}
	request["model"] = model
	if _, said := request["stream_options"]; way == "stream" && !said && c.Path != "responses" {
		request["stream_options"] = map[string]any{"include_usage": true}
	}
	facts, message, err := a.ask(c.Path, way, request)
	field := file.Field(c, model, way)
	if field != "" {
		return a.refused(err, field)
	}
	if err == nil && c.Then != nil {
		if wrong := parity.Differences(c.First, facts, model); wrong != nil {
			return wrong
		}
		request["messages"] = append(append(request["messages"].([]any), message), replies(c.Then, message)...)
		facts, _, err = a.ask(c.Path, way, request)
	}
	if err != nil {
		return []string{err.Error()}
	}
	return parity.Differences(file.Expected(c, model, way), facts, model)
}

// refused is what is wrong with a refusal that is to name a field.
func (a asker) refused(err error, field string) []string {
	var e *sdk.Error
	if !errors.As(err, &e) {
		return []string{fmt.Sprintf("it was to be refused for %s: %v", field, err)}
	}
	got, err := parity.Plainly(parity.Facts{"status": e.StatusCode, "code": e.Code, "type": e.Type, "param": e.Param})
	if err != nil {
		return []string{err.Error()}
	}
	return parity.Differences(parity.Facts{"status": 400.0, "code": "invalid_request", "type": "invalid_request_error", "param": field}, got, "")
}

// replies are messages with the ids of the calls they answer: "$call0" is the first.
func replies(messages []map[string]any, message map[string]any) []any {
	var all []any
	for _, m := range messages {
		m = maps.Clone(m)
		if id, _ := m["tool_call_id"].(string); strings.HasPrefix(id, "$call") {
			calls, _ := message["tool_calls"].([]any)
			for i, call := range calls {
				if id == fmt.Sprintf("$call%d", i) {
					m["tool_call_id"] = call.(map[string]any)["id"]
				}
			}
		}
		all = append(all, m)
	}
	return all
}

// TestEveryRefusalStandsOnThePage: the table of differences has the rows that the cases
// prove, and no other.
func TestEveryRefusalStandsOnThePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "providers.md"))
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "<!-- refusals: test/parity -->")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n**")
	var rows []string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) > 2 && !strings.Contains(cells[1], "---") && strings.TrimSpace(cells[1]) != "refused" {
			rows = append(rows, strings.TrimSpace(cells[1]))
		}
	}
	file, err := parity.Read()
	require.NoError(t, err)
	var proven []string
	for _, c := range file.Cases {
		if c.Row != "" {
			require.NotEmpty(t, c.Refused, c.Name)
			proven = append(proven, c.Row)
		}
	}
	slices.Sort(proven)
	slices.Sort(rows)
	assert.Equal(t, slices.Compact(proven), rows)
}
