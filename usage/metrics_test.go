package usage

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// consumed are a decoded entry and its one attempt.
func consumed(t *testing.T, change ...func(*data.HTTPAccessLogEntry)) *Request {
	d := decoder(t)
	r := d.Request(requestEntry(t, "x", change...))
	if r.Tried > 0 {
		r.Attempts = []Attempt{d.Attempt(attemptEntry(t, "x", 1, change...))}
	}
	r.Lane = Native
	d.Finish(&r)
	return &r
}

func known(r *Request) bool { return r.Model == "gpt-4o-mini" }

func TestMetrics(t *testing.T) {
	m := NewMetrics(MetricsSettings{Model: known, Tenants: 1})
	m.Consume(consumed(t))
	m.Consume(consumed(t, noUsage, streamed))
	m.Consume(consumed(t, at("provider/openai=made-up")))
	m.Consume(consumed(t, noUsage, answered(500, viaUpstream)))
	m.Consume(consumed(t, refusedAtTheDoor(401, "jwt_authn_access_denied")))
	other := consumed(t, noUsage, flags(&data.ResponseFlags{DownstreamConnectionTermination: true}))
	other.Tenant, other.Partial = "second", true
	m.Consume(other)
	m.Stage("validate", "ok", time.Millisecond)
	m.Refused("type.googleapis.com/envoy.config.listener.v3.Listener")
	m.Configured("v1", time.Unix(100, 0))
	m.Configured("v2", time.Unix(200, 0))

	require.NoError(t, testutil.CollectAndCompare(m, strings.NewReader(`
# HELP postern_requests_total Finished requests.
# TYPE postern_requests_total counter
postern_requests_total{blame="client",lane="native",provider="",route="gpt-4o-mini",status="4xx"} 1
postern_requests_total{blame="client",lane="native",provider="openai",route="gpt-4o-mini",status="2xx"} 1
postern_requests_total{blame="none",lane="native",provider="openai",route="gpt-4o-mini",status="2xx"} 3
postern_requests_total{blame="provider",lane="native",provider="openai",route="gpt-4o-mini",status="5xx"} 1
# HELP postern_rejections_total Requests that were refused before any provider was asked.
# TYPE postern_rejections_total counter
postern_rejections_total{reason="key"} 1
# HELP postern_tokens_total Tokens, by how they are known: exact from the provider, or estimated from bytes.
# TYPE postern_tokens_total counter
postern_tokens_total{model="gpt-4o-mini",provider="openai",route="gpt-4o-mini",source="estimated",type="input"} 2000
postern_tokens_total{model="gpt-4o-mini",provider="openai",route="gpt-4o-mini",source="estimated",type="output"} 204
postern_tokens_total{model="gpt-4o-mini",provider="openai",route="gpt-4o-mini",source="exact",type="cached"} 400
postern_tokens_total{model="gpt-4o-mini",provider="openai",route="gpt-4o-mini",source="exact",type="input"} 1000
postern_tokens_total{model="gpt-4o-mini",provider="openai",route="gpt-4o-mini",source="exact",type="output"} 100
postern_tokens_total{model="other",provider="openai",route="gpt-4o-mini",source="exact",type="cached"} 400
postern_tokens_total{model="other",provider="openai",route="gpt-4o-mini",source="exact",type="input"} 1000
postern_tokens_total{model="other",provider="openai",route="gpt-4o-mini",source="exact",type="output"} 100
# HELP postern_cost_unknown_requests_total Requests that a provider worked on and whose cost is not known.
# TYPE postern_cost_unknown_requests_total counter
postern_cost_unknown_requests_total{model="other",provider="openai",route="gpt-4o-mini"} 1
# HELP postern_attempts_total Attempts at providers.
# TYPE postern_attempts_total counter
postern_attempts_total{blame="client",provider="openai",status="2xx"} 1
postern_attempts_total{blame="none",provider="openai",status="2xx"} 3
postern_attempts_total{blame="provider",provider="openai",status="5xx"} 1
# HELP postern_aborted_requests_total Requests whose client left before the end.
# TYPE postern_aborted_requests_total counter
postern_aborted_requests_total{route="gpt-4o-mini"} 1
# HELP postern_partial_requests_total Requests of which not all attempts are known, because the log lost them.
# TYPE postern_partial_requests_total counter
postern_partial_requests_total{route="gpt-4o-mini"} 1
# HELP postern_tenant_requests_total Finished requests by tenant.
# TYPE postern_tenant_requests_total counter
postern_tenant_requests_total{status="2xx",tenant="acme"} 3
postern_tenant_requests_total{status="2xx",tenant="other"} 1
postern_tenant_requests_total{status="4xx",tenant="acme"} 1
postern_tenant_requests_total{status="5xx",tenant="acme"} 1
# HELP postern_config_refusals_total Configuration resources that Envoy refused.
# TYPE postern_config_refusals_total counter
postern_config_refusals_total{type="Listener"} 1
# HELP postern_config_info The configuration version in use.
# TYPE postern_config_info gauge
postern_config_info{version="v2"} 1
# HELP postern_config_timestamp_seconds When the configuration version in use was taken; time() less this is its age.
# TYPE postern_config_timestamp_seconds gauge
postern_config_timestamp_seconds 200
`), "postern_requests_total", "postern_rejections_total", "postern_tokens_total",
		"postern_cost_unknown_requests_total", "postern_attempts_total", "postern_aborted_requests_total",
		"postern_partial_requests_total", "postern_tenant_requests_total", "postern_config_refusals_total",
		"postern_config_info", "postern_config_timestamp_seconds"))
	cost := func(source string) float64 {
		return testutil.ToFloat64(m.cost.WithLabelValues("gpt-4o-mini", "openai", "gpt-4o-mini", source))
	}
	assert.InEpsilon(t, 0.00018, cost("exact"), 1e-9)
	assert.InEpsilon(t, 0.0004224, cost("estimated"), 1e-9)
	assert.Equal(t, 4, testutil.CollectAndCount(m, "gen_ai_client_token_usage"), "only what the provider said, two models")
	assert.Equal(t, 1, testutil.CollectAndCount(m, "gen_ai_server_time_to_first_token_seconds"), "only streams")
	assert.Equal(t, 4, testutil.CollectAndCount(m, "gen_ai_client_operation_duration_seconds"))
}

// What is passed is charged by other things than tokens: no price is missing.
func TestWhatIsPassedHasNoPriceToMiss(t *testing.T) {
	m := NewMetrics(MetricsSettings{})
	r := consumed(t, noUsage, func(e *data.HTTPAccessLogEntry) {
		e.CommonProperties.RouteName, e.Request.Path = "pass/openai", "/v1/files"
	})
	m.Consume(r)
	assert.False(t, r.Cost.Known)
	assert.Zero(t, testutil.CollectAndCount(m, "postern_cost_unknown_requests_total"))
}

func TestTheConventionsNamesAndTimes(t *testing.T) {
	m := NewMetrics(MetricsSettings{Model: known, System: func(provider string) string { return "aws." + provider }})
	r := consumed(t, streamed) // 100 tokens, exact
	r.Attempts[0].FirstByte, r.Attempts[0].Duration = 10*time.Millisecond, 10*time.Millisecond+99*20*time.Millisecond
	m.Consume(r)
	m.Consume(consumed(t, streamed, noUsage)) // its tokens are a guess
	require.NoError(t, testutil.CollectAndCompare(m, strings.NewReader(`
# HELP gen_ai_server_time_per_output_token_seconds Time per output token after the first, of a successful streamed answer.
# TYPE gen_ai_server_time_per_output_token_seconds histogram
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.01"} 0
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.025"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.05"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.075"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.1"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.15"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.2"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.3"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.4"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.5"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="0.75"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="1"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="2.5"} 1
gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini",le="+Inf"} 1
gen_ai_server_time_per_output_token_seconds_sum{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini"} 0.02
gen_ai_server_time_per_output_token_seconds_count{gen_ai_operation_name="chat",gen_ai_provider_name="aws.openai",gen_ai_request_model="gpt-4o-mini"} 1
`), "gen_ai_server_time_per_output_token_seconds"))
	assert.Equal(t, 1, testutil.CollectAndCount(m, "gen_ai_server_request_duration_seconds"))
}

func TestTenantsAreOptIn(t *testing.T) {
	m := NewMetrics(MetricsSettings{})
	m.Consume(consumed(t))
	assert.Zero(t, testutil.CollectAndCount(m, "postern_tenant_requests_total"))
}

// A hundred thousand models, providers and tenants make as many series as the bounds say.
func TestLabelSetsAreClosed(t *testing.T) {
	m := NewMetrics(MetricsSettings{Model: func(*Request) bool { return true }, Tenants: 5})
	r := consumed(t)
	for i := range 100_000 {
		r.Model, r.Tenant = "m"+strconv.Itoa(i), "t"+strconv.Itoa(i)
		m.Consume(r)
	}
	assert.Equal(t, 2*(mostModels+1), testutil.CollectAndCount(m, "gen_ai_client_token_usage"))
	assert.Equal(t, 6, testutil.CollectAndCount(m, "postern_tenant_requests_total"))
	none := NewMetrics(MetricsSettings{})
	none.Consume(r)
	assert.Equal(t, 1, testutil.CollectAndCount(none, "postern_cost_usd_total"))
}

func TestNamesPassTheLinter(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	metrics := NewMetrics(MetricsSettings{Tenants: 1})
	world := newWorld(t)
	world.writes(3)
	world.missing(3, "")
	envoy := &Envoy{Stats: func(context.Context, string) (map[string]int64, error) {
		all := map[string]int64{statActive: 4}
		for _, s := range selected {
			all[s.stat] = 1
		}
		return all, nil
	}}
	_, err := envoy.Counters(t.Context())
	require.NoError(t, err)
	state := &State{Service: New(Settings{}), Gap: world.meter, Ledger: world.ledger, Journal: &Journal{}, InFlight: envoy.InFlight}
	require.NoError(t, registry.Register(metrics))
	require.NoError(t, registry.Register(state))
	require.NoError(t, registry.Register(envoy))
	metrics.Consume(consumed(t))
	metrics.Consume(consumed(t, streamed, at("provider/x=y")))
	metrics.Consume(consumed(t, refusedAtTheDoor(401, "x")))
	metrics.Stage("a", "ok", 1)
	metrics.Refused("x")
	metrics.Configured("v", time.Now())
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	assert.Empty(t, problems)

	for name, want := range map[string]int{
		"postern_log_missing_entries": 1, "postern_log_missing_requests": 1, "postern_log_pending_entries": 1,
		"postern_log_entries_total": 2, "postern_log_odd_entries_total": 3, "postern_requests_in_flight": 1,
		"postern_log_streams": 1, "postern_envoy_workers": 1, "postern_log_write_failures_total": 2, "postern_usage_log_lost_lines_total": 1,
	} {
		count, err := testutil.GatherAndCount(registry, name)
		require.NoError(t, err)
		assert.Equal(t, want, count, name)
	}
}

func TestStatusClasses(t *testing.T) {
	for status, want := range map[int]string{200: "2xx", 599: "5xx", 0: "none", 600: "none", -1: "none"} {
		assert.Equal(t, want, statusClass(status), fmt.Sprint(status))
	}
}
