package usage_test

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/gate"
)

// TestAKeySeesItsOwnUse has two keys use the gate, each of every endpoint, and asks for
// what they used: each sees its own, and the sums of its records.
func TestAKeySeesItsOwnUse(t *testing.T) { byEachReader(t, theOwnUse) }

// endpoints are bodies for all that is charged by tokens, for a model's name.
var endpoints = map[string]string{
	"chat/completions": `"messages":[{"role":"user","content":"one two three"}]`,
	"completions":      `"prompt":"one two three"`,
	"responses":        `"input":"one two three"`,
	"embeddings":       `"input":"one two three"`,
}

func theOwnUse(t *testing.T, h *house) {
	other := h.anotherKey(t)
	ids := map[string][]string{}
	for name, key := range map[string]string{"first": h.Key, "second": other} {
		for path, body := range endpoints {
			for _, stream := range []string{"", `,"stream":true,"stream_options":{"include_usage":true}`} {
				if path == "embeddings" && stream != "" || path == "responses" && name == "second" {
					continue
				}
				id := name + "-" + strings.ReplaceAll(path, "/", ".") + strings.Repeat("-stream", b2i(stream != ""))
				response, answer := h.Request(t.Context(), t, http.MethodPost, "/v1/"+path, `{"model":"plain",`+body+stream+`}`,
					"Authorization", "Bearer "+key, "X-Request-ID", id, "X-Postern-Key", "key_of_somebody")
				require.Equal(t, http.StatusOK, response.StatusCode, answer)
				ids[name] = append(ids[name], id)
			}
		}
	}
	get := func(key, path string, header ...string) (int, gjson.Result) {
		response, answer := h.Request(t.Context(), t, http.MethodGet, "/v1/usage"+path, "", append(header, "Authorization", "Bearer "+key)...)
		return response.StatusCode, gjson.Parse(answer)
	}
	used := map[string]int64{}
	for name, key := range map[string]string{"first": h.Key, "second": other} {
		var input, output int64
		for _, id := range ids[name] {
			line := h.with(t, id, 1)[0]
			assert.Equal(t, gjson.False, line.Get("tokens.estimated").Type, line.Raw)
			assert.EqualValues(t, 3, line.Get("tokens.input").Int(), line.Raw)
			input += line.Get("tokens.input").Int()
			output += line.Get("tokens.output").Int()
			status, mine := get(key, "/"+id)
			require.Equal(t, http.StatusOK, status)
			for _, field := range []string{"id", "status", "endpoint", "tokens.input", "tokens.output", "cost_usd", "attempts.0.provider"} {
				assert.Equal(t, line.Get(field).Raw, mine.Get(field).Raw, "%s of %s", field, id)
			}
			for _, field := range []string{"tenant", "key", "details", "flags"} {
				assert.False(t, mine.Get(field).Exists(), "%s is the operator's", field)
			}
		}
		status, sums := get(key, "")
		require.Equal(t, http.StatusOK, status)
		assert.Equal(t, int64(len(ids[name])), sums.Get("requests").Int(), "to ask is no use: %s", sums.Raw)
		cost := sums.Get("cost_usd").String()
		assert.Equal(t, costOf(said{input, output}), dollars(t, &cost), sums.Raw)
		used[name] = input
		assert.Equal(t, input, sums.Get("tokens.input").Int(), sums.Raw)
		assert.Equal(t, output, sums.Get("tokens.output").Int(), sums.Raw)
		assert.Zero(t, sums.Get("estimated_tokens.input").Int(), sums.Raw)
		assert.Zero(t, sums.Get("unknown_cost_requests").Int(), sums.Raw)
	}
	status, refused := get(other, "/"+ids["first"][0])
	assert.Equal(t, http.StatusNotFound, status, "another key's request does not exist")
	assert.Equal(t, "unknown_url", refused.Get("error.code").String(), refused.Raw)
	for _, line := range h.lines(t) {
		if line.Get("id").String() != ids["first"][0] {
			continue
		}
		owner := line.Get("key").String()
		status, _ = get(other, "/"+ids["first"][0], "X-Postern-Key", owner)
		assert.Equal(t, http.StatusNotFound, status, "whatever a client says of itself")
		status, sums := get(other, "", "X-Postern-Key", owner)
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, used["second"], sums.Get("tokens.input").Int(), sums.Raw)
	}
	assert.NotEqual(t, used["first"], used["second"])
	status, _ = get("pk_nobody", "", "X-Postern-Key", "x")
	assert.Equal(t, http.StatusUnauthorized, status)
}

// anotherKey makes a key, which is good at once.
func (h *house) anotherKey(t *testing.T) string {
	t.Helper()
	printed, err := exec.Command(gate.Binary(t), "keys", "create", "--data", h.Data, "--tenant", "acme").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(printed))
}
