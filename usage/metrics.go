package usage

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// MetricsSettings say what a Metrics may name. The zero value names no model.
type MetricsSettings struct {
	// Model says that the name of a request's model may be a label: it is configured, or
	// has a price. Every other name is "other". nil: all are.
	Model func(r *Request) bool
	// System is the conventions' name of a configured provider (openai, aws.bedrock), or
	// its own. nil: its own.
	System func(provider string) string
	// Tenants opts in to series by tenant, at most so many; others are "other".
	// 0: there are none.
	Tenants int
}

// The most values a label may take over a process's life.
const (
	mostModels    = 200
	mostRoutes    = 200
	mostProviders = 100
	mostWords     = 100 // stages, outcomes and kinds of resources
)

// Metrics is a Consumer and a prometheus.Collector. Names with gen_ai_ are those of
// OpenTelemetry's GenAI conventions in Prometheus' spelling (dots are underscores,
// seconds have their suffix), with the conventions' buckets:
//
//	gen_ai_client_token_usage                  input and output tokens of a request
//	gen_ai_client_operation_duration_seconds   the whole request, as the client sees it
//	gen_ai_server_time_to_first_token_seconds  of successful streams: to the first byte
//	                                           of the answering provider, whose headers
//	                                           may come a little before its first token
//	gen_ai_server_time_per_output_token_seconds  of successful streams whose provider
//	                                           counted: each token after the first one
//	gen_ai_server_request_duration_seconds     the answering attempt, to its last byte
//
// Only numbers that the provider said stand in gen_ai_client_token_usage, as the
// conventions ask; postern_tokens_total has the estimated ones too, marked. All other
// names are Postern's own.
type Metrics struct {
	all   []prometheus.Collector
	named func(*Request) bool
	known func(provider string) string // by the conventions

	models, routes, providers, tenants, words *labels

	tokenUsage, operation, firstToken *prometheus.HistogramVec
	serverDuration, perToken          *prometheus.HistogramVec

	requests, rejections, attempts, aborts, partial  *prometheus.CounterVec
	tokens, cost, costUnknown                        *prometheus.CounterVec
	tenantRequests, tenantTokens, tenantCost         *prometheus.CounterVec
	duration, firstByte, attemptFirstByte, stageTime *prometheus.HistogramVec
	refused                                          *prometheus.CounterVec
	config                                           *prometheus.GaugeVec
	configured                                       prometheus.Gauge
	version                                          atomic.Pointer[string]

	mu       sync.Mutex // held while a request is counted
	outcomes map[outcome]*handles
	tries    map[try]*tryHandles
}

var (
	_ Consumer             = (*Metrics)(nil)
	_ prometheus.Collector = (*Metrics)(nil)
)

// NewMetrics makes the metrics; they are served once they are registered.
func NewMetrics(s MetricsSettings) *Metrics {
	m := &Metrics{
		named:     s.Model,
		known:     s.System,
		models:    newLabels(mostModels),
		routes:    newLabels(mostRoutes),
		providers: newLabels(mostProviders),
		words:     newLabels(mostWords),
		outcomes:  map[outcome]*handles{},
		tries:     map[try]*tryHandles{},
	}
	m.genAI()
	m.own()
	if s.Tenants > 0 {
		m.tenants = newLabels(s.Tenants)
		m.byTenant()
	}
	return m
}

// Buckets. Those of the conventions stand at
// https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/.
var (
	tokenBuckets = []float64{
		1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
	}
	operationBuckets = []float64{
		0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
	}
	firstTokenBuckets = []float64{
		0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
	}
	perTokenBuckets = []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}
	stageBuckets    = []float64{0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5}
)

func (m *Metrics) genAI() {
	m.tokenUsage = m.histogram("gen_ai_client_token_usage",
		"Tokens of a request, as the provider counted them.", tokenBuckets,
		"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type")
	m.operation = m.histogram("gen_ai_client_operation_duration_seconds",
		"Whole duration of a request that asked a model.", operationBuckets,
		"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type")
	m.firstToken = m.histogram("gen_ai_server_time_to_first_token_seconds",
		"Time to the first byte of a successful streamed answer, at the provider that gave it.", firstTokenBuckets,
		"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
	m.perToken = m.histogram("gen_ai_server_time_per_output_token_seconds",
		"Time per output token after the first, of a successful streamed answer.", perTokenBuckets,
		"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
	m.serverDuration = m.histogram("gen_ai_server_request_duration_seconds",
		"Duration of the attempt that was answered last, to its last byte.", operationBuckets,
		"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type")
}

func (m *Metrics) own() {
	m.requests = m.counter("postern_requests_total", "Finished requests.",
		"route", "provider", "status", "lane", "blame")
	m.rejections = m.counter("postern_rejections_total",
		"Requests that were refused before any provider was asked.", "reason")
	m.aborts = m.counter("postern_aborted_requests_total", "Requests whose client left before the end.", "route")
	m.partial = m.counter("postern_partial_requests_total",
		"Requests of which not all attempts are known, because the log lost them.", "route")
	m.attempts = m.counter("postern_attempts_total", "Attempts at providers.", "provider", "status", "blame")
	m.attemptFirstByte = m.histogram("postern_attempt_first_byte_seconds",
		"Time from an attempt's begin to the first byte of its answer.", operationBuckets, "provider")
	m.firstByte = m.histogram("postern_first_byte_seconds",
		"Time to the first byte sent to the client.", operationBuckets, "route")
	m.duration = m.histogram("postern_request_duration_seconds",
		"Whole duration of a request.", operationBuckets, "route", "lane")
	m.tokens = m.counter("postern_tokens_total",
		"Tokens, by how they are known: exact from the provider, or estimated from bytes.",
		"route", "provider", "model", "type", "source")
	m.cost = m.counter("postern_cost_usd_total",
		"Cost in US dollars of requests whose price is known.", "route", "provider", "model", "source")
	m.costUnknown = m.counter("postern_cost_unknown_requests_total",
		"Requests that a provider worked on and whose cost is not known.", "route", "provider", "model")
	m.stageTime = m.histogram("postern_stage_seconds",
		"Time of one stage of understanding a request.", stageBuckets, "stage", "outcome")
	m.refused = m.counter("postern_config_refusals_total",
		"Configuration resources that Envoy refused.", "type")
	m.config = m.gauge("postern_config_info", "The configuration version in use.", "version")
	m.configured = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "postern_config_timestamp_seconds",
		Help: "When the configuration version in use was taken; time() less this is its age.",
	})
	m.all = append(m.all, m.configured)
}

func (m *Metrics) byTenant() {
	m.tenantRequests = m.counter("postern_tenant_requests_total", "Finished requests by tenant.", "tenant", "status")
	m.tenantTokens = m.counter("postern_tenant_tokens_total", "Tokens by tenant.", "tenant", "type", "source")
	m.tenantCost = m.counter("postern_tenant_cost_usd_total",
		"Cost in US dollars by tenant, of requests whose price is known.", "tenant", "source")
}

func (m *Metrics) counter(name, help string, names ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, names)
	m.all = append(m.all, v)
	return v
}

func (m *Metrics) gauge(name, help string, names ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, names)
	m.all = append(m.all, v)
	return v
}

func (m *Metrics) histogram(name, help string, buckets []float64, names ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, names)
	m.all = append(m.all, v)
	return v
}

// Describe describes all metrics.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.all {
		c.Describe(to)
	}
}

// Collect gives all metrics.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.all {
		c.Collect(to)
	}
}

// Consume counts one request.
func (m *Metrics) Consume(r *Request) {
	o := outcome{
		route: m.routes.of(routeLabel(r)), provider: m.providers.of(r.Provider), model: m.modelLabel(r),
		status: statusClass(r.Status), lane: r.Lane, blame: r.Blame, endpoint: r.Endpoint,
	}
	m.count(r, &o)
	if r.Reason != "" {
		m.rejections.WithLabelValues(string(r.Reason)).Inc()
	}
	if m.tenants != nil && r.Tenant != "" {
		m.tenant(r, o.status)
	}
}

// modelLabel is the label of a request's model. A name that is one once stays one.
func (m *Metrics) modelLabel(r *Request) string {
	if r.Model == "" || m.models.has(r.Model) {
		return r.Model
	}
	if m.named == nil || !m.named(r) {
		return OtherLabel
	}
	return m.models.of(r.Model)
}

// count counts in the series that are remembered.
func (m *Metrics) count(r *Request, o *outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := remembered(m.outcomes, *o)
	counting(&h.requests, m.requests, o.route, o.provider, o.status, string(o.lane), string(o.blame)).Inc()
	observing(&h.duration, m.duration, o.route, string(o.lane)).Observe(r.Duration.Seconds())
	if r.FirstByte > 0 {
		observing(&h.firstByte, m.firstByte, o.route).Observe(r.FirstByte.Seconds())
	}
	if r.Aborted {
		counting(&h.aborts, m.aborts, o.route).Inc()
	}
	if r.Partial {
		counting(&h.partial, m.partial, o.route).Inc()
	}
	for i := range r.Attempts {
		m.attempt(&r.Attempts[i])
	}
	if r.Provider != "" {
		m.model(r, o, h)
		m.money(r, o, h)
	}
}

func (m *Metrics) attempt(a *Attempt) {
	if a.Provider == "" {
		return // Postern's own answers
	}
	t := try{provider: m.providers.of(a.Provider), status: statusClass(a.Status), blame: a.Blame}
	h := remembered(m.tries, t)
	counting(&h.attempts, m.attempts, t.provider, t.status, string(t.blame)).Inc()
	if a.FirstByte > 0 {
		observing(&h.firstByte, m.attemptFirstByte, t.provider).Observe(a.FirstByte.Seconds())
	}
}

// model fills the conventions' metrics.
func (m *Metrics) model(r *Request, o *outcome, h *handles) { //nolint:cyclop // one metric a case
	if !r.Endpoint.Metered() {
		return
	}
	operation := string(r.Endpoint)
	if r.Endpoint == Responses {
		operation = string(Chat) // the conventions have no name of its own for it
	}
	system := o.provider
	if m.known != nil && o.provider != OtherLabel {
		system = m.known(o.provider)
	}
	if h.operation == nil {
		failure := ""
		if r.Blame != Nobody {
			failure = string(r.Blame) + "_" + o.status
		}
		h.operation = m.operation.WithLabelValues(operation, system, o.model, failure)
		h.server = m.serverDuration.WithLabelValues(operation, system, o.model, failure)
	}
	h.operation.Observe(r.Duration.Seconds())
	var last Attempt
	if n := len(r.Attempts); n > 0 {
		last = r.Attempts[n-1]
		h.server.Observe(last.Duration.Seconds())
	}
	if r.Status >= 400 || r.Status == 0 {
		return
	}
	if r.Stream && last.FirstByte > 0 {
		observing(&h.firstToken, m.firstToken, operation, system, o.model).Observe(last.FirstByte.Seconds())
		if n := r.Tokens.Output; n.Source == Exact && n.N > 1 && r.Blame == Nobody {
			each := (last.Duration - last.FirstByte).Seconds() / float64(n.N-1)
			observing(&h.perToken, m.perToken, operation, system, o.model).Observe(max(0, each))
		}
	}
	for i, part := range charged(r) {
		none := part.name == "output" && r.Endpoint == Embeddings // they have no output to observe
		if part.count.Source == Exact && !none {
			observing(&h.tokenUsage[i], m.tokenUsage, operation, system, o.model, part.name).Observe(float64(part.count.N))
		}
	}
}

func (m *Metrics) money(r *Request, o *outcome, h *handles) {
	for i, part := range counted(r) {
		if part.count.N > 0 {
			counting(&h.tokens[i][part.count.Source], m.tokens,
				o.route, o.provider, o.model, part.name, part.count.Source.String()).Add(float64(part.count.N))
		}
	}
	switch source := r.Cost.source(); {
	case !r.Cost.Known && !r.Endpoint.Metered(): // nobody asked what it costs
	case !r.Cost.Known:
		counting(&h.costUnknown, m.costUnknown, o.route, o.provider, o.model).Inc()
	case r.Cost.Amount > 0:
		counting(&h.cost[source], m.cost, o.route, o.provider, o.model, source.String()).Add(r.Cost.Amount.Dollars())
	}
}

func (m *Metrics) tenant(r *Request, status string) {
	tenant := m.tenants.of(r.Tenant)
	m.tenantRequests.WithLabelValues(tenant, status).Inc()
	for _, part := range counted(r) {
		if part.count.N > 0 {
			m.tenantTokens.WithLabelValues(tenant, part.name, part.count.Source.String()).Add(float64(part.count.N))
		}
	}
	if r.Cost.Known && r.Cost.Amount > 0 {
		m.tenantCost.WithLabelValues(tenant, r.Cost.source().String()).Add(r.Cost.Amount.Dollars())
	}
}

// Stage counts one stage of understanding; it is an extproc.Observer.
func (m *Metrics) Stage(stage, outcome string, took time.Duration) {
	m.stageTime.WithLabelValues(m.words.of(stage), m.words.of(outcome)).Observe(took.Seconds())
}

// Configured notes the configuration version in use and when it was taken.
func (m *Metrics) Configured(version string, at time.Time) {
	if last := m.version.Swap(&version); last != nil && *last != version {
		m.config.DeleteLabelValues(*last)
	}
	m.config.WithLabelValues(version).Set(1)
	m.configured.Set(float64(at.UnixMilli()) / 1000)
}

// Refused counts a resource that Envoy refused, by the last word of its type's name.
func (m *Metrics) Refused(kind string) {
	m.refused.WithLabelValues(m.words.of(kind[strings.LastIndex(kind, ".")+1:])).Inc()
}

type part struct {
	name  string
	count Count
}

func charged(r *Request) [2]part {
	return [2]part{{"input", r.Tokens.Input}, {"output", r.Tokens.Output}}
}

// counted are all numbers; cached and written are also in input, and reasoning in output.
func counted(r *Request) [5]part {
	t := r.Tokens
	return [5]part{{"input", t.Input}, {"output", t.Output}, {"cached", t.Cached}, {"written", t.Written}, {"reasoning", t.Reasoning}}
}

func (c Cost) source() Source {
	switch {
	case !c.Known:
		return Unknown
	case c.Estimated:
		return Estimated
	}
	return Exact
}

// routeLabel is a route's name; that of a request without one is where it ended.
func routeLabel(r *Request) string {
	if r.Route == "" {
		return "none"
	}
	return r.Route
}
