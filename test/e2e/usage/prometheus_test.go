package usage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/test/need"
)

const (
	root  = "../../../"
	rules = root + "examples/prometheus"
)

// tool is Prometheus' or promtool's path: the variable's, one on PATH, or the one that
// make test unpacks. Without it the test is skipped by name, and fails where CI=true.
func tool(t *testing.T, name, variable string) string {
	t.Helper()
	if path := os.Getenv(variable); path != "" {
		return path
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path, err := filepath.Abs(root + ".tools/debian/usr/bin/" + name)
	require.NoError(t, err)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	need.Missing(t, name+": make test fetches it, or install Debian's package prometheus")
	return ""
}

func promtool(t *testing.T, in string, args ...string) {
	t.Helper()
	cmd := exec.Command(tool(t, "promtool", "PROMTOOL"), args...)
	cmd.Stdin = strings.NewReader(in)
	printed, err := cmd.CombinedOutput()
	require.NoError(t, err, "promtool %s: %s", strings.Join(args, " "), printed)
	require.NotContains(t, string(printed), "FAILED")
}

func TestExampleRules(t *testing.T) {
	promtool(t, "", "check", "rules", "--lint=all", "--lint-fatal", rules+"/rules.yaml")
	promtool(t, "", "check", "config", rules+"/prometheus.yaml")
	promtool(t, "", "test", "rules", rules+"/rules_test.yaml")

	// A rule over a metric that nobody gives is silent for ever.
	text, err := os.ReadFile(rules + "/rules.yaml")
	require.NoError(t, err)
	described := page(t)
	for _, found := range regexp.MustCompile(`[^:\w](postern_\w+)`).FindAllStringSubmatch(string(text), -1) {
		_, there := described[strings.TrimSuffix(found[1], "_bucket")]
		assert.True(t, there, found[1])
	}
	alerts, err := os.ReadFile(rules + "/rules_test.yaml")
	require.NoError(t, err)
	for _, found := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(text), -1) {
		assert.Contains(t, string(alerts), "alertname: "+found[1], "each alert is tried")
	}
}

// TestPrometheusScrapesTheGate has a real Prometheus read a gate with the example's
// configuration and rules.
func TestPrometheusScrapesTheGate(t *testing.T) {
	binary := tool(t, "prometheus", "PROMETHEUS")
	h := open(t, "metrics: {tenants: 2}")
	h.traffic(t)
	address := startPrometheus(t, binary, h.Metrics)
	h.goOn(t)
	ask := func(expression string) gjson.Result {
		return fetch(address + "/api/v1/query?query=" + url.QueryEscape(expression)).Get("data.result")
	}
	for expression, atLeast := range map[string]float64{
		`sum(up{job="postern"})`: 1,
		`sum(postern_requests_total{route="plain",provider="one",status="2xx"})`:             5,
		`sum(postern_attempts_total{provider="one",blame="none"})`:                           5,
		`sum(postern_tokens_total{route="plain",source="exact",type="input"})`:               5,
		`sum(postern_cost_usd_total{provider="one",model="plain"})`:                          1e-9,
		`histogram_quantile(0.95, sum by (le) (postern_first_byte_seconds_bucket))`:          1e-9,
		`sum(gen_ai_client_token_usage_count{gen_ai_token_type="output"})`:                   5,
		`sum(postern_stage_seconds_count{stage!=""})`:                                        1,
		`sum(postern_tenant_requests_total{tenant="development"})`:                           5,
		`count(postern_config_info)`:                                                         1,
		`sum(postern_envoy_workers)`:                                                         1,
		`count(postern_log_missing_requests == 0)`:                                           1,
		`count(instance:postern_config_age:seconds > 0)`:                                     1,
		`count(provider:postern_attempt_errors:ratio_rate5m{provider="one"})`:                1,
		`count({__name__=~"postern_.*|gen_ai_.*"}) < 2000`:                                   100,
		`sum(postern_requests_total) <= bool sum(postern_log_entries_total{log!="attempt"})`: 1,
	} {
		assert.Eventually(t, func() bool {
			return ask(expression).Get("0.value.1").Float() >= atLeast
		}, 30*time.Second, 100*time.Millisecond, "%s: %s", expression, ask(expression))
	}
	groups := fetch(address + "/api/v1/rules").Get("data.groups.#.rules|@flatten").Array()
	require.Len(t, groups, 17)
	for _, rule := range groups {
		assert.Equal(t, "ok", rule.Get("health").String(), rule.Raw)
	}
	promtool(t, h.scrape(t), "check", "metrics")
	h.comparePage(t)
}

// traffic is a little of everything that makes a metric.
func (h *house) traffic(t *testing.T) {
	t.Helper()
	for range 5 {
		h.Chat(t.Context(), t, "plain")
	}
	h.Chat(t.Context(), t, "any-unpriced")
	h.Chat(t.Context(), t, "nobody-has-this")
	_, _, err := h.ask(t, "prometheus", "exact", `,"stream":true`)
	require.NoError(t, err)
	response, err := gate.Client().Post(h.URL+"/v1/chat/completions", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	_ = response.Body.Close()
}

// goOn sends requests until the test ends: a rate needs two readings that differ.
func (h *house) goOn(t *testing.T) {
	t.Helper()
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				h.Chat(context.Background(), t, "plain")
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		running.Wait()
	})
}

// startPrometheus starts it with the example's files and gives its URL.
func startPrometheus(t *testing.T, binary, target string) string {
	t.Helper()
	folder, address := t.TempDir(), gate.FreeAddress(t)
	for _, name := range []string{"prometheus.yaml", "rules.yaml"} {
		text, err := os.ReadFile(filepath.Join(rules, name))
		require.NoError(t, err)
		changed := strings.NewReplacer("127.0.0.1:9464", target, "interval: 15s", "interval: 1s").Replace(string(text))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(changed), 0o600))
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	require.NoError(t, err)
	cmd := exec.Command(binary, "--config.file="+filepath.Join(folder, "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("prometheus printed:\n%.8000s", text)
		}
	})
	return "http://" + address
}

// fetch is the JSON at a URL; nothing while nobody answers.
func fetch(url string) gjson.Result {
	response, err := gate.Client().Get(url)
	if err != nil {
		return gjson.Result{}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || !json.Valid(text) {
		return gjson.Result{}
	}
	return gjson.ParseBytes(text)
}

// described is what docs/metrics.md says of a metric.
type described struct {
	kind   string
	labels []string
}

var rowOfPage = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|([^|]*)\\| [^|]+\\|$")

// page are the metrics that docs/metrics.md names.
func page(t *testing.T) map[string]described {
	t.Helper()
	text, err := os.ReadFile(root + "docs/metrics.md")
	require.NoError(t, err)
	all := map[string]described{}
	for _, row := range rowOfPage.FindAllStringSubmatch(string(text), -1) {
		d := described{kind: row[2]}
		for _, label := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[3], -1) {
			d.labels = append(d.labels, label[1])
		}
		slices.Sort(d.labels)
		all[row[1]] = d
	}
	require.NotEmpty(t, all)
	return all
}

// seldom are metrics that a gate has only once something went wrong, or that need
// something which the test's does not have.
var seldom = []string{
	"postern_aborted_requests_total", "postern_partial_requests_total", "postern_config_refusals_total", // only after one
	"postern_configuration_refused", "postern_configuration_answered_timestamp_seconds",
}

// comparePage holds docs/metrics.md against what the gate gives, both ways.
func (h *house) comparePage(t *testing.T) {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(h.scrape(t)))
	require.NoError(t, err)
	told := page(t)
	for name, family := range families {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		labels := []string{}
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		slices.Sort(labels)
		d, there := told[name]
		if !assert.True(t, there, "%s is not in docs/metrics.md", name) {
			continue
		}
		assert.Equal(t, strings.ToLower(family.GetType().String()), d.kind, name)
		assert.Equal(t, fmt.Sprint(labels), fmt.Sprint(d.labels), name)
	}
	for name := range told {
		if !slices.Contains(seldom, name) {
			assert.Contains(t, families, name, "docs/metrics.md")
		}
	}
}
