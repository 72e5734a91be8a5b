package usage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy/envoytest"
	"github.com/postern-proxy/postern/test/gate"
)

// serving is a gate whose Envoy somebody else runs, so that Postern can be killed
// while Envoy goes on.
type serving struct {
	t       *testing.T
	url     string
	key     string
	data    string
	file    string
	journal string
	metrics string
	reader  string
	probes  atomic.Int64
	asked   map[string]int // whether the gate is ready: answers' status by request id
	printed bytes.Buffer
	postern *exec.Cmd
	envoy   *exec.Cmd
}

// serve starts both; {{address}} in config is where the gate listens, and reader who reads
// the answers.
func serve(t *testing.T, reader, config string, env ...string) *serving {
	t.Helper()
	address := gate.FreeAddress(t)
	folder := t.TempDir()
	s := &serving{
		t: t, url: "http://" + address, metrics: gate.FreeAddress(t), reader: reader, asked: map[string]int{},
		data: filepath.Join(folder, "d"), file: filepath.Join(folder, "postern.yaml"), journal: filepath.Join(folder, "usage.jsonl"),
	}
	require.NoError(t, os.Mkdir(s.data, 0o700))
	require.NoError(t, os.WriteFile(s.file, []byte(strings.ReplaceAll(config, "{{address}}", address)), 0o600))
	s.begin(env)
	bootstrap := filepath.Join(s.data, "bootstrap.json")
	require.Eventually(t, func() bool { _, err := os.Stat(bootstrap); return err == nil }, 30*time.Second, 20*time.Millisecond)
	s.envoy = exec.Command(envoytest.Binary(t), "-c", bootstrap, "--concurrency", "2", "--log-level", "error", "--disable-hot-restart")
	log, err := os.Create(filepath.Join(folder, "envoy.log"))
	require.NoError(t, err)
	s.envoy.Stdout, s.envoy.Stderr = log, log
	require.NoError(t, s.envoy.Start())
	t.Cleanup(func() {
		_ = s.envoy.Process.Kill()
		_ = s.envoy.Wait()
		_ = log.Close()
		s.kill()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("postern printed:\n%s\nenvoy printed:\n%.8000s", s.printed.String(), text)
		}
	})
	s.await()
	key, err := os.ReadFile(filepath.Join(s.data, "keys", "development.key"))
	require.NoError(t, err)
	s.key = strings.TrimSpace(string(key))
	return s
}

func (s *serving) begin(env []string) {
	s.t.Helper()
	s.postern = exec.Command(gate.Binary(s.t), "serve", "--config", s.file, "--data", s.data, "--metrics", s.metrics, "--usage-log", s.journal, "--reader", s.reader)
	s.postern.Env = append(gate.Environment(s.t), env...)
	s.postern.Stdout, s.postern.Stderr = &s.printed, &s.printed
	require.NoError(s.t, s.postern.Start())
}

// kill is kill -9 of Postern; Envoy goes on.
func (s *serving) kill() {
	_ = s.postern.Process.Kill()
	_ = s.postern.Wait()
}

// await waits until a request passes that Postern itself answers.
func (s *serving) await() {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		id := fmt.Sprintf("probe-%d", s.probes.Add(1))
		request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/readyz", nil)
		require.NoError(s.t, err)
		request.Header.Set("X-Request-ID", id)
		response, err := gate.Client().Do(request)
		if err != nil {
			return false // nobody listens yet
		}
		_ = response.Body.Close()
		s.asked[id] = response.StatusCode
		return response.StatusCode == http.StatusOK
	}, 60*time.Second, 20*time.Millisecond)
}

// value is the sum of a metric's series that have the labels; ok is false while there
// is none.
func value(t *testing.T, address, name string, labels ...string) (sum float64, ok bool) {
	t.Helper()
	response, err := gate.Client().Get("http://" + address + "/metrics")
	if err != nil {
		return 0, false
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	require.NoError(t, err)
	for _, m := range families[name].GetMetric() {
		has := 0
		for _, l := range m.GetLabel() {
			for i := 0; i+1 < len(labels); i += 2 {
				if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
					has++
				}
			}
		}
		if has != len(labels)/2 {
			continue
		}
		ok = true
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		sum += m.GetHistogram().GetSampleSum()
	}
	return sum, ok
}

// record is a line of the usage log.
type record struct {
	ID        string  `json:"id"`
	Route     string  `json:"route"`
	Status    int     `json:"status"`
	Aborted   bool    `json:"aborted"`
	Lane      string  `json:"lane"`
	Stream    bool    `json:"stream"`
	Cost      *string `json:"cost_usd"`
	Estimated bool    `json:"cost_estimated"`
	Config    string  `json:"config"`
	Tenant    string  `json:"tenant"`
	Refused   string  `json:"refused"`
	Tokens    struct {
		Input     *int64 `json:"input"`
		Output    *int64 `json:"output"`
		Estimated bool   `json:"estimated"`
	} `json:"tokens"`
	Attempts []struct {
		Provider string `json:"provider"`
		Status   int    `json:"status"`
		Flags    string `json:"flags"`
		Logged   bool   `json:"logged"`
	} `json:"attempts"`
	Partial bool `json:"attempts_incomplete"`
}

// records are the usage log's, of requests that the test sent.
func (s *serving) records() []record {
	s.t.Helper()
	file, err := os.Open(s.journal)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(s.t, err)
	defer file.Close()
	var all []record
	decoder := json.NewDecoder(file)
	for {
		var r record
		if err := decoder.Decode(&r); err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // as the decoder gives them
			return all
		} else if err != nil {
			s.t.Fatalf("line %d of the usage log: %v", len(all)+1, err)
		}
		all = append(all, r)
	}
}
