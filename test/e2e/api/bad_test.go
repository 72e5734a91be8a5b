package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// row is one request that is bad, or meets a bad provider, and what its client is
// told. {{model}} in the body stands for the lane's name of the row's model.
type row struct {
	name  string
	model string // "main" where nothing is said
	request

	key    *string // in place of a good key; "" is no Authorization at all
	status int     // 0: the connection ends without an answer
	code   string  // OpenAI's "code"; empty: the body is not ours
	param  string  // OpenAI's "param"
	codec  bool    // Envoy's codec answers: its form is not promised, but it says no more than it may
	passed string  // the provider's answer passes; this is in it
	before func(h *house)
	check  func(t *testing.T, h *house, a answer)
}

// lane is a way a request with a body can take through the gate. All give the same
// answers to the same rows.
type lane struct {
	name  string
	model func(string) string
	send  func(request) request
}

const understoodSuffix = ".read"

var (
	// native: Envoy alone reads the body.
	native = lane{name: "native", model: same[string], send: same[request]}
	// found: a body without a length goes to Go, which finds the model.
	found = lane{name: "found", model: same[string], send: func(r request) request {
		if r.frame == sized && r.raw == "" && r.method == http.MethodPost {
			r.frame = chunked
		}
		return r
	}}
	// understood: the model's entry asks for its bodies to be read.
	understood = lane{name: "understood", model: func(m string) string { return m + understoodSuffix }, send: same[request]}
)

func same[T any](v T) T { return v }

// TestBadInput has a row for each thing that clients, networks and providers get
// wrong. None may hang the gate, and each tells the client what it may know.
func TestBadInput(t *testing.T) {
	everyRow(t, shared(t), native, found)
}

// TestBadInputWhereBodiesAreRead is the same on a gate some of whose models have their
// bodies read by Go: that changes no answer, for those models or the others.
func TestBadInputWhereBodiesAreRead(t *testing.T) {
	everyRow(t, open(t, native, understood), native, found, understood)
}

func everyRow(t *testing.T, h *house, lanes ...lane) {
	t.Helper()
	all := slices.Concat(bodyRows(), methodRows(), pathRows(), keyRows(t, h), sizeRows(), wireRows(), providerRows())
	before, failed := h.EnvoyLog(), map[int]int{}
	for _, l := range lanes {
		t.Run(l.name, func(t *testing.T) { runRows(t, h, l, all) })
		for _, r := range all {
			if r.status >= http.StatusBadRequest {
				failed[r.status]++
			}
		}
	}
	h.idle(t)
	if !t.Failed() {
		logs(t, h, before, failed)
	}
	h.main.Reset()
	a := speak(t, h.Address, http.MethodPost, good(h, native).request)
	assert.Equal(t, http.StatusOK, a.status, "the gate is well after all this")
}

// runRows sends each row over one lane.
func runRows(t *testing.T, h *house, l lane, rows []row) {
	t.Helper()
	names := map[string]bool{}
	for _, r := range rows {
		require.False(t, names[r.name], "two rows are called %q", r.name)
		names[r.name] = true
		t.Run(r.name, func(t *testing.T) {
			h.main.Reset()
			if r.before != nil {
				r.before(h)
			}
			a := speak(t, h.Address, r.method, r.on(h, l).request)
			judge(t, h, r, a)
		})
	}
}

// logs says that envoy.log tells of each failed request, which is all that anybody
// learns of what the codec refused. Envoy writes it out every few seconds.
func logs(t *testing.T, h *house, before string, failed map[int]int) {
	t.Helper()
	for status, times := range failed {
		assert.Eventually(t, func() bool {
			return strings.Count(strings.TrimPrefix(h.EnvoyLog(), before), fmt.Sprintf(`"status":%d,`, status)) >= times
		}, patience, 10*glance, "envoy.log does not tell of all %d answers of %d", times, status)
	}
	assert.NotContains(t, h.EnvoyLog(), h.Key)
	assert.NotContains(t, h.EnvoyLog(), providerKey("main"))
}

// on fills the row's gaps for one gate and lane.
func (r row) on(h *house, l lane) row {
	if r.model == "" {
		r.model = "main"
	}
	if r.method == "" {
		r.method = http.MethodPost
	}
	if r.target == "" {
		r.target = chatPath
	}
	fill := strings.NewReplacer("{{model}}", l.model(r.model), "{{key}}", h.Key, "{{host}}", h.Address)
	r.body, r.raw = fill.Replace(r.body), fill.Replace(r.raw)
	lines := []string{"Host: " + h.Address}
	if r.key == nil {
		lines = append(lines, "Authorization: Bearer "+h.Key)
	} else if *r.key != "" {
		lines = append(lines, "Authorization: "+*r.key)
	}
	if !has(r.headers, "content-type") && r.method == http.MethodPost {
		lines = append(lines, "Content-Type: application/json")
	}
	r.headers = append(lines, r.headers...)
	r.request = l.send(r.request)
	return r
}

func has(lines []string, name string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		return strings.HasPrefix(strings.ToLower(line), name+":")
	})
}

// good is a row whose request nothing is wrong with.
func good(h *house, l lane) row {
	return row{request: request{body: `{"model":"{{model}}",` + inputs[chatPath] + `}`}}.on(h, l)
}

// judge holds an answer against its row and against what no answer may show.
func judge(t *testing.T, h *house, r row, a answer) {
	t.Helper()
	require.Equal(t, r.status, a.status, "%s", a.body)
	if a.status == 0 {
		return
	}
	require.NoError(t, a.broken)
	if r.check != nil {
		r.check(t, h, a)
	}
	if r.codec {
		keepsSecrets(t, h, a)
		return
	}
	assert.NotEmpty(t, a.header.Get("X-Request-ID"))
	if r.code == "" {
		assert.Contains(t, a.body, r.passed)
		return
	}
	isError(t, a, r.code, r.param)
	keepsSecrets(t, h, a)
}

// isError holds an answer against OpenAI's form and the one table of faults.
func isError(t *testing.T, a answer, code, param string) {
	t.Helper()
	assert.Equal(t, "application/json", a.header.Get("Content-Type"))
	require.True(t, gjson.Valid(a.body), a.body)
	e := gjson.Get(a.body, "error")
	assert.Equal(t, code, e.Get("code").String(), a.body)
	kind := kindOf(t, code, a.status)
	assert.Equal(t, kind.Type(), e.Get("type").String(), a.body)
	assert.NotEmpty(t, e.Get("message").String())
	fields := map[string]bool{}
	e.ForEach(func(name, _ gjson.Result) bool {
		fields[name.String()] = true
		return true
	})
	assert.Equal(t, map[string]bool{"message": true, "type": true, "param": true, "code": true}, fields)
	if param == "" {
		assert.Equal(t, gjson.Null, e.Get("param").Type, a.body)
	} else {
		assert.Equal(t, param, e.Get("param").String(), a.body)
	}
}

func kindOf(t *testing.T, code string, status int) fault.Kind {
	t.Helper()
	for _, kind := range fault.Kinds() {
		if kind.Code() == code {
			assert.Equal(t, kind.Status(), status, "the status of %s", code)
			return kind
		}
	}
	require.Fail(t, "no such code", code)
	return fault.Internal
}

// keepsSecrets holds an answer of the gate's own against what nobody outside may
// learn: keys, addresses, sockets, files, and the words of the machinery.
func keepsSecrets(t *testing.T, h *house, a answer) {
	t.Helper()
	shown := strings.ToLower(a.body)
	for _, secret := range []string{
		h.Key, providerKey("main"), h.main.Address(), h.Data, h.admin.Socket, "127.0.0.1", ".sock", "/tmp", "/run/",
		"envoy", "upstream", "jwt", "jwks", "rbac", "ext_proc", "extproc", "reset reason", "delayed connect", "cluster",
		"goroutine", "panic", "provider/", "transport failure", "protocol_error", "no healthy",
	} {
		assert.NotContains(t, shown, strings.ToLower(secret))
	}
	for name, values := range a.header {
		assert.False(t, strings.HasPrefix(name, "X-Envoy-"), name)
		assert.NotContains(t, strings.Join(values, " "), h.Key)
	}
	assert.Equal(t, "postern", serverOf(a))
}

// serverOf is the answer's Server header; the codec's own answers have none.
func serverOf(a answer) string {
	if name := a.header.Get("Server"); name != "" {
		return name
	}
	return "postern"
}
