package usage

import (
	"math"
	"testing"
	"time"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestARequestIsReadWhole(t *testing.T) {
	d := decoder(t)
	d.Understood = func(version, entry string) bool {
		assert.Equal(t, []string{"abcdef012345", "gpt-4o-mini"}, []string{version, entry})
		return false
	}
	r := d.Request(requestEntry(t, "id-1"))
	d.Finish(&r)
	assert.True(t, r.sent)
	assert.NotZero(t, r.peer)
	r.found, r.last, r.sent, r.peer = found{}, nil, false, 0
	assert.Equal(t, Request{
		ID: "id-1", Time: begun, Tenant: "acme", Key: "k1", User: "ada", Tier: "gold",
		Route: "gpt-4o-mini", Entry: true, Lane: Native, Endpoint: Chat,
		Asked: "gpt-4o-mini", Provider: "openai", Model: "gpt-4o-mini",
		Status: 200, Details: viaUpstream, Blame: Nobody, Tried: 1,
		FirstByte: 300 * time.Millisecond, Duration: 1200 * time.Millisecond, BytesIn: 4000, BytesOut: 800,
		Tokens: Tokens{Input: exact(1000), Output: exact(100), Cached: exact(400), Reasoning: exact(0)},
		Cost:   Cost{Amount: 180_000_000, Known: true}, // 600 × 0.15 + 400 × 0.075 + 100 × 0.6, in millionths
		Config: "abcdef012345",
	}, r)
}

func TestTokens(t *testing.T) {
	for name, test := range map[string]struct {
		change []func(*data.HTTPAccessLogEntry)
		want   Tokens
	}{
		"nobody said":         {[]func(*data.HTTPAccessLogEntry){noUsage}, Tokens{Input: estimated(1000), Output: estimated(200)}},
		"nobody said, stream": {[]func(*data.HTTPAccessLogEntry){noUsage, streamed}, Tokens{Input: estimated(1000), Output: estimated(4)}},
		"aborted": {[]func(*data.HTTPAccessLogEntry){noUsage, streamed, flags(&data.ResponseFlags{DownstreamConnectionTermination: true})},
			Tokens{Input: estimated(1000), Output: estimated(4)}},
		"aborted after usage": {[]func(*data.HTTPAccessLogEntry){streamed, flags(&data.ResponseFlags{DownstreamRemoteReset: true})},
			Tokens{Input: exact(1000), Output: exact(100), Cached: exact(400), Reasoning: exact(0)}},
		"aborted before a byte": {[]func(*data.HTTPAccessLogEntry){noUsage, func(e *data.HTTPAccessLogEntry) {
			e.Response = nil
			e.Request.RequestBodyBytes = 0
		}}, Tokens{Input: estimated(1), Output: estimated(1)}},
		"pictures": {[]func(*data.HTTPAccessLogEntry){noUsage, func(e *data.HTTPAccessLogEntry) { e.Request.RequestBodyBytes = 10 << 20 }},
			Tokens{Input: estimated(200_000), Output: estimated(200)}},
		"embedding":             {[]func(*data.HTTPAccessLogEntry){embedding, usageIs(t, map[string]any{"input": 7, "total": 7})}, Tokens{Input: exact(7), Output: exact(0)}},
		"embedding, total only": {[]func(*data.HTTPAccessLogEntry){embedding, usageIs(t, map[string]any{"total": 7})}, Tokens{Input: exact(7), Output: exact(0)}},
		"embedding, silent":     {[]func(*data.HTTPAccessLogEntry){embedding, noUsage}, Tokens{Input: estimated(1000), Output: exact(0)}},
		"no provider asked":     {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(401, "jwt_authn_access_denied{x}")}, Tokens{Input: exact(0), Output: exact(0)}},
		"provider refused":      {[]func(*data.HTTPAccessLogEntry){noUsage, answered(500, viaUpstream)}, Tokens{Input: exact(0), Output: exact(0)}},
		"timed out":             {[]func(*data.HTTPAccessLogEntry){noUsage, answered(504, "response_timeout")}, Tokens{Input: estimated(1000), Output: estimated(1)}},
		"timed out in a stream": {[]func(*data.HTTPAccessLogEntry){noUsage, streamed, answered(200, "response_timeout")}, Tokens{Input: estimated(1000), Output: estimated(4)}},
		"no connection":         {[]func(*data.HTTPAccessLogEntry){neverLeft("upstream_reset_before_response_started{remote_connection_failure}")}, Tokens{Input: exact(0), Output: exact(0)}},
		"no address":            {[]func(*data.HTTPAccessLogEntry){neverLeft("no_healthy_upstream")}, Tokens{Input: exact(0), Output: exact(0)}},
		"full breaker":          {[]func(*data.HTTPAccessLogEntry){neverLeft("upstream_reset_before_response_started{overflow}")}, Tokens{Input: exact(0), Output: exact(0)}},
		"not prepared":          {[]func(*data.HTTPAccessLogEntry){neverLeft("ext_proc_error_gRPC_error_14")}, Tokens{Input: exact(0), Output: exact(0)}},
		"not metered": {[]func(*data.HTTPAccessLogEntry){noUsage, func(e *data.HTTPAccessLogEntry) { e.Request.Path = "/v1/files" }},
			Tokens{}},
		"texts":               {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": "12", "output": "3"})}, Tokens{Input: exact(12), Output: exact(3)}},
		"zeros, if said":      {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": 0, "output": 0})}, Tokens{Input: exact(0), Output: exact(0)}},
		"negative":            {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": -1, "output": -5})}, Tokens{Input: estimated(1000), Output: estimated(200)}},
		"huge":                {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": 1e300, "output": 9})}, Tokens{Input: estimated(1000), Output: exact(9)}},
		"fraction, NaN":       {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": 1.5, "output": math.NaN()})}, Tokens{Input: estimated(1000), Output: estimated(200)}},
		"words and lists":     {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": "many", "output": []any{1}})}, Tokens{Input: estimated(1000), Output: estimated(200)}},
		"output from total":   {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": 4, "total": 10})}, Tokens{Input: exact(4), Output: exact(6)}},
		"input from total":    {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"output": 4, "total": 10})}, Tokens{Input: exact(6), Output: exact(4)}},
		"total only":          {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"total": 1010})}, Tokens{Input: estimated(1000), Output: estimated(10)}},
		"total too small":     {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": 40, "total": 10})}, Tokens{Input: exact(40), Output: estimated(200)}},
		"cached beyond input": {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": 4, "output": 4, "cached": 5, "reasoning": 5})}, Tokens{Input: exact(4), Output: exact(4)}},
		"written": {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": 40, "output": 4, "cached": 30, "written": 10})},
			Tokens{Input: exact(40), Output: exact(4), Cached: exact(30), Written: exact(10)}},
		"written beyond input": {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": 40, "output": 4, "cached": 30, "written": 11})},
			Tokens{Input: exact(40), Output: exact(4), Cached: exact(30)}},
		"written, in OpenAI's words": {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{
			"raw": `{"prompt_tokens":40,"completion_tokens":4,"total_tokens":44,"prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":10}}`,
		})}, Tokens{Input: exact(40), Output: exact(4), Cached: exact(30), Written: exact(10)}},
		"written, of a response": {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{
			"raw": `{"input_tokens":40,"output_tokens":4,"input_tokens_details":{"cached_tokens":30,"cache_write_tokens":10}}`,
		})}, Tokens{Input: exact(40), Output: exact(4), Cached: exact(30), Written: exact(10)}},
		"null": {[]func(*data.HTTPAccessLogEntry){func(e *data.HTTPAccessLogEntry) {
			e.CommonProperties.Metadata.FilterMetadata[MetadataUsage] = nil
		}}, Tokens{Input: estimated(1000), Output: estimated(200)}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, finished(t, requestEntry(t, "x", test.change...)).Tokens)
		})
	}
}

func embedding(e *data.HTTPAccessLogEntry) { e.Request.Path = "/v1/embeddings" }

func TestCosts(t *testing.T) {
	for name, test := range map[string]struct {
		change []func(*data.HTTPAccessLogEntry)
		want   Cost
	}{
		"estimated": {[]func(*data.HTTPAccessLogEntry){noUsage}, Cost{Amount: 1000*150_000 + 200*600_000, Known: true, Estimated: true}},
		"written": {[]func(*data.HTTPAccessLogEntry){at("provider/bedrock=global.anthropic.claude-haiku-4-5-20251001-v1:0"),
			usageIs(t, map[string]any{"input": 100, "output": 1, "cached": 30, "written": 50})},
			Cost{Amount: 20*1_000_000 + 30*100_000 + 50*1_250_000 + 5_000_000, Known: true}},
		"written, at a price that nobody knows": {[]func(*data.HTTPAccessLogEntry){usageIs(t, map[string]any{"input": 8, "output": 0, "written": 8})},
			Cost{Amount: 8 * 187_500, Known: true, Estimated: true}},
		"never left":    {[]func(*data.HTTPAccessLogEntry){neverLeft("no_healthy_upstream")}, Cost{Known: true}},
		"unknown model": {[]func(*data.HTTPAccessLogEntry){at("provider/openai=their-own")}, Cost{}},
		"nothing done":  {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(429, "local_rate_limited")}, Cost{Known: true}},
		"not metered":   {[]func(*data.HTTPAccessLogEntry){noUsage, func(e *data.HTTPAccessLogEntry) { e.Request.Path = "/v1/files" }}, Cost{}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, finished(t, requestEntry(t, "x", test.change...)).Cost)
		})
	}
}

func TestWhereItWent(t *testing.T) {
	for name, test := range map[string]struct {
		route, cluster, asked    string
		entry, provider, asModel string
	}{
		"plain":                     {"model/gpt-4o", "provider/openai", "gpt-4o", "gpt-4o", "openai", "gpt-4o"},
		"own name":                  {"model/gpt-4o", "provider/aws=us.anthropic.x-v1:0", "gpt-4o", "gpt-4o", "aws", "us.anthropic.x-v1:0"},
		"pattern":                   {"model/claude-*", "provider/aws=anthropic.*-v1<claude-*", "claude-haiku", "claude-*", "aws", "anthropic.haiku-v1"},
		"pattern for all":           {"model/*", "provider/x=y/*<*", "m", "*", "x", "y/m"},
		"pattern that does not fit": {"model/a*", "provider/x=y*<a*", "m", "a*", "x", "y*"},
		"one of several keys":       {"model/gpt-4o", "provider/openai#12", "gpt-4o", "gpt-4o", "openai", "gpt-4o"},
		"a key and an own name":     {"model/gpt-4o", "provider/openai#0=1#2@3", "gpt-4o", "gpt-4o", "openai", "1#2@3"},
		"held":                      {"model/gpt-4o", "provider/openai#!", "gpt-4o", "gpt-4o", "openai", "gpt-4o"},
		"held, with a key":          {"model/gpt-4o", "provider/openai#3!@my-gpt", "gpt-4o", "gpt-4o", "openai", "my-gpt"},
		"not the last attempt":      {"model/gpt-4o", "guarded/openai#0=x", "gpt-4o", "gpt-4o", "openai", "x"},
		"the same in Envoy's log":   {"model/gpt-4o", "watched/openai#0=x", "gpt-4o", "gpt-4o", "openai", "x"},
		"own path":                  {"model/gpt-4o", "provider/openai@", "gpt-4o", "gpt-4o", "openai", "gpt-4o"},
		"own path and own name":     {"model/gpt-4o", "provider/openai@=x@y", "gpt-4o", "gpt-4o", "openai", "x@y"},
		"a name in the path":        {"model/gpt-4o", "provider/azure#3@my-gpt", "gpt-4o", "gpt-4o", "azure", "my-gpt"},
		"a pattern in the path":     {"model/az-*", "provider/azure@*<az-*", "az-gpt-4o", "az-*", "azure", "gpt-4o"},
		"nobody read the name":      {"model/gpt-4o", "provider/openai", "", "gpt-4o", "openai", "gpt-4o"},
		"nor is it exact":           {"model/gpt-*", "provider/openai", "", "gpt-*", "openai", ""},
		"ours":                      {"models", "postern-answer", "", "models", "", ""},
		"passed":                    {"pass/openai", "provider/openai", "", "pass/openai", "openai", ""},
		"nothing":                   {"", "", "", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := finished(t, requestEntry(t, "x", func(e *data.HTTPAccessLogEntry) {
				e.CommonProperties.RouteName, e.CommonProperties.UpstreamCluster = test.route, test.cluster
				e.CommonProperties.Metadata.FilterMetadata[MetadataRequest] = fieldsOf(t, map[string]any{"model": test.asked})
			}))
			assert.Equal(t, []string{test.entry, test.provider, test.asModel}, []string{r.Route, r.Provider, r.Model})
		})
	}
}

func TestASharedNameComesFromTheConfiguration(t *testing.T) {
	d := decoder(t)
	d.Name = func(version, entry, asked string) string { return version + entry + "/" + asked }
	r := d.Request(requestEntry(t, "x"))
	assert.Equal(t, "abcdef012345gpt-4o-mini/gpt-4o-mini", r.Model)
	r = d.Request(requestEntry(t, "x", at("provider/openai=own")))
	assert.Equal(t, "own", r.Model, "the cluster knows better")
}

func TestEndpoints(t *testing.T) {
	for path, want := range map[string]Endpoint{
		"/v1/chat/completions": Chat, "/openai/v1/chat/completions?a=/embeddings": Chat, "/v1/completions": Completions,
		"/v1/embeddings": Embeddings, "/v1/responses": Responses, "/v1/responses/x": Other, "": Other, "/v1/models": Other,
	} {
		assert.Equal(t, want, endpointOf([]byte(path)), path)
	}
}

func TestBlame(t *testing.T) {
	none := &data.ResponseFlags{}
	for name, test := range map[string]struct {
		change []func(*data.HTTPAccessLogEntry)
		want   Blame
		reason Reason
	}{
		"fine":                 {nil, Nobody, ""},
		"client's mistake":     {[]func(*data.HTTPAccessLogEntry){answered(400, viaUpstream)}, Client, ""},
		"our credential":       {[]func(*data.HTTPAccessLogEntry){answered(401, viaUpstream)}, Gateway, ""},
		"provider's limit":     {[]func(*data.HTTPAccessLogEntry){answered(429, viaUpstream)}, Provider, ""},
		"provider's error":     {[]func(*data.HTTPAccessLogEntry){answered(500, viaUpstream), flags(none)}, Provider, ""},
		"client left":          {[]func(*data.HTTPAccessLogEntry){flags(&data.ResponseFlags{DownstreamConnectionTermination: true})}, Client, ""},
		"cut after its 200":    {[]func(*data.HTTPAccessLogEntry){flags(&data.ResponseFlags{UpstreamConnectionTermination: true})}, Provider, ""},
		"unreachable":          {[]func(*data.HTTPAccessLogEntry){answered(503, "upstream_reset_before_response_started{x}"), flags(&data.ResponseFlags{UpstreamConnectionFailure: true})}, Provider, ""},
		"full breaker":         {[]func(*data.HTTPAccessLogEntry){answered(503, "overflow"), flags(&data.ResponseFlags{UpstreamOverflow: true})}, Gateway, ""},
		"refused connection":   {[]func(*data.HTTPAccessLogEntry){neverLeft("upstream_reset_before_response_started{x}"), flags(&data.ResponseFlags{UpstreamConnectionFailure: true})}, Provider, ""},
		"no address":           {[]func(*data.HTTPAccessLogEntry){neverLeft("no_healthy_upstream"), flags(&data.ResponseFlags{NoHealthyUpstream: true})}, Provider, "no_provider"},
		"renaming failed":      {[]func(*data.HTTPAccessLogEntry){neverLeft("ext_proc_error_x")}, Gateway, "extproc"},
		"bad key":              {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(401, "jwt_authn_access_denied{Jwt_is_missing}")}, Client, "key"},
		"own limit":            {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(429, "local_rate_limited")}, Client, "rate_limit"},
		"tier":                 {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(403, "rbac_access_denied_matched_policy[x]")}, Client, "access"},
		"service down":         {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(503, "ext_proc_error_gRPC_error_14")}, Gateway, "extproc"},
		"bad body":             {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(400, "postern_invalid_request")}, Client, "body"},
		"no route":             {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(404, "direct_response")}, Client, "no_route"},
		"something new":        {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(418, "teapot")}, Client, "other"},
		"nothing at all":       {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(0, "")}, Gateway, "other"},
		"left before anything": {[]func(*data.HTTPAccessLogEntry){refusedAtTheDoor(0, ""), flags(&data.ResponseFlags{DownstreamRemoteReset: true})}, Client, "client_left"},
		"our own answer":       {[]func(*data.HTTPAccessLogEntry){at("postern-answer"), answered(404, viaUpstream)}, Client, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := finished(t, requestEntry(t, "x", test.change...))
			assert.Equal(t, test.want, r.Blame)
			assert.Equal(t, test.reason, r.Reason)
		})
	}
}

func TestAnAttempt(t *testing.T) {
	d := decoder(t)
	a := d.Attempt(attemptEntry(t, "x", 2, at("provider/aws=b*<g*"), answered(0, ""), flags(&data.ResponseFlags{UpstreamConnectionFailure: true, UpstreamRetryLimitExceeded: true})))
	assert.Equal(t, "aws", a.Provider)
	assert.Equal(t, "UF,URX", a.Flags)
	assert.Equal(t, Provider, a.Blame)
	assert.Equal(t, 80*time.Millisecond, a.FirstByte)
	assert.Equal(t, 100*time.Millisecond, a.Duration)
	a = d.Attempt(attemptEntry(t, "x", 1, answered(400, "")))
	assert.Equal(t, Client, a.Blame, "an answer without details is the provider's own")
	a = d.Attempt(attemptEntry(t, "x", 1, answered(429, "")))
	assert.Equal(t, Provider, a.Blame)

	a = d.Attempt(attemptEntry(t, "x", 1, func(e *data.HTTPAccessLogEntry) {
		e.Request.RequestBodyBytes, e.Response.ResponseBodyBytes = 87, 13
	}))
	assert.EqualValues(t, 87, a.BytesIn, "the answer")
	assert.EqualValues(t, 13, a.BytesOut, "the request")

	r := Request{Asked: "gpt", Provider: "aws", Model: "bpt", found: nothing, Endpoint: Chat, Attempts: []Attempt{
		{Model: "b*", pattern: "g*", found: nothing}, {found: found{3, 4, -1, -1, -1, -1}},
	}}
	d.Finish(&r)
	assert.Equal(t, "bpt", r.Attempts[0].Model)
	assert.Equal(t, "bpt", r.Attempts[1].Model)
	assert.Equal(t, Tokens{Input: exact(3), Output: exact(4)}, r.Tokens, "noted with the attempt")
}

// How an attempt ended that Envoy ended itself stands in its request only.
func TestAnOpenAttemptIsJudgedByItsRequest(t *testing.T) {
	d := decoder(t)
	open := func(e *data.HTTPAccessLogEntry) { e.CommonProperties.TimeToLastUpstreamRxByte = nil }
	for name, test := range map[string]struct {
		attempt, request []func(*data.HTTPAccessLogEntry)
		aborted          bool
		blame            Blame
	}{
		"client left before the answer": {
			[]func(*data.HTTPAccessLogEntry){open, answered(0, "")},
			[]func(*data.HTTPAccessLogEntry){answered(0, "downstream_remote_disconnect"), flags(&data.ResponseFlags{DownstreamConnectionTermination: true})},
			true, Client,
		},
		"client left within the answer": {
			[]func(*data.HTTPAccessLogEntry){open},
			[]func(*data.HTTPAccessLogEntry){flags(&data.ResponseFlags{DownstreamRemoteReset: true})},
			true, Client,
		},
		"time was up": {
			[]func(*data.HTTPAccessLogEntry){open, answered(0, "")},
			[]func(*data.HTTPAccessLogEntry){answered(504, "response_timeout"), flags(&data.ResponseFlags{UpstreamRequestTimeout: true})},
			false, Provider,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.Attempt(attemptEntry(t, "x", 1, test.attempt...))
			assert.True(t, a.Open)
			assert.Equal(t, Nobody, a.Blame, "nobody is blamed before it is known")
			r := d.Request(requestEntry(t, "x", test.request...))
			r.Attempts = []Attempt{a}
			d.Finish(&r)
			assert.False(t, r.Attempts[0].Open)
			assert.Equal(t, test.aborted, r.Attempts[0].Aborted)
			assert.Equal(t, test.blame, r.Attempts[0].Blame)
		})
	}
	refused := d.Attempt(attemptEntry(t, "x", 1, open, answered(500, "")))
	assert.False(t, refused.Open, "Envoy ends it too when it tries the next, and that says enough")
	assert.Equal(t, Provider, refused.Blame)
}

func TestHostileTextsAreCleaned(t *testing.T) {
	evil := "a\x1b[31m\r\nb\u202e\xff" + long
	r := finished(t, requestEntry(t, evil, answered(200, evil), at("provider/"+evil+"="+evil+"<"+evil), func(e *data.HTTPAccessLogEntry) {
		e.CommonProperties.RouteName = "model/" + evil
		e.Response.ResponseHeaders[headerConfig] = evil
		e.Request.UserAgent = evil
		for _, s := range e.GetCommonProperties().GetMetadata().GetFilterMetadata() {
			s.Fields["model"] = structpb.NewStringValue(evil)
			s.Fields["jwt"] = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
				"tenant": structpb.NewStringValue(evil), "jti": structpb.NewStringValue(evil), "sub": structpb.NewNumberValue(1), "tier": structpb.NewNullValue(),
			}})
		}
	}))
	for _, text := range []string{r.ID, r.Details, r.Route, r.Config, r.Tenant, r.Key, r.Asked, r.Provider, r.Model} {
		require.True(t, plain(text), "%q", text)
		assert.LessOrEqual(t, len(text), maxName)
		assert.Contains(t, text, "a?[31m??b??x")
	}
	assert.Empty(t, r.User)
	assert.Empty(t, r.Lane)
}

func TestClean(t *testing.T) {
	assert.Equal(t, "grüße", clean("grüße", 10))
	assert.Equal(t, "gr", clean("grüße", 3), "a character is kept whole or not at all")
	assert.Empty(t, clean("ü", 1))
	assert.Empty(t, clean("", 0))
}

func TestTimesThatCannotBe(t *testing.T) {
	r := finished(t, requestEntry(t, "x", func(e *data.HTTPAccessLogEntry) {
		e.CommonProperties.StartTime = &timestamppb.Timestamp{Seconds: math.MaxInt64}
		e.CommonProperties.Duration = &durationpb.Duration{Seconds: math.MinInt64, Nanos: 5}
		e.CommonProperties.TimeToFirstDownstreamTxByte = durationpb.New(-time.Second)
		e.Request.RequestBodyBytes = math.MaxUint64
	}))
	assert.Zero(t, r.Time)
	assert.Zero(t, r.Duration)
	assert.Zero(t, r.FirstByte)
	assert.Positive(t, r.BytesIn)
}

func TestAnEmptyEntry(t *testing.T) {
	r := finished(t, &data.HTTPAccessLogEntry{})
	assert.Equal(t, Gateway, r.Blame)
	assert.Equal(t, Other, r.Endpoint)
	d := decoder(t)
	assert.True(t, d.Attempt(nil).Open)
	assert.NotPanics(t, func() { d.Request(nil) })
}

func FuzzDecode(f *testing.F) {
	for _, e := range []*data.HTTPAccessLogEntry{
		requestEntry(f, "a"), attemptEntry(f, "b", 1), requestEntry(f, "c", noUsage, streamed), {},
		requestEntry(f, "d", flags(&data.ResponseFlags{UnauthorizedDetails: &data.ResponseFlags_Unauthorized{}})),
	} {
		raw, err := proto.Marshal(e)
		require.NoError(f, err)
		f.Add(raw)
	}
	d := decoder(f)
	metrics, recent, window := NewMetrics(MetricsSettings{Tenants: 2}), NewRecent(RecentSettings{Requests: 3}), NewWindow(WindowSettings{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e data.HTTPAccessLogEntry
		if proto.Unmarshal(raw, &e) != nil {
			return
		}
		r, a := d.Request(&e), d.Attempt(&e)
		r.Attempts = []Attempt{a}
		d.Finish(&r)
		for _, c := range []Count{r.Tokens.Input, r.Tokens.Output, r.Tokens.Cached, r.Tokens.Reasoning} {
			if c.N < 0 || c.N > 1<<50 || c.Source == Unknown && c.N != 0 {
				t.Fatalf("tokens %+v", r.Tokens)
			}
		}
		if r.Cost.Amount < 0 || !r.Cost.Known && r.Cost.Amount != 0 || r.Duration < 0 || r.FirstByte < 0 {
			t.Fatalf("%+v", r)
		}
		for _, c := range []Consumer{metrics, recent, window} {
			c.Consume(&r)
		}
	})
}

func TestAnAttemptTellsMoreThanItsRequest(t *testing.T) {
	d := decoder(t)
	failed := func(e *data.HTTPAccessLogEntry) {
		e.CommonProperties.ResponseFlags = &data.ResponseFlags{UpstreamConnectionFailure: true}
		e.CommonProperties.UpstreamTransportFailureReason = "TLS_error:|268435581\nCERTIFICATE_VERIFY_FAILED"
		e.Response = &data.HTTPResponseProperties{}
	}
	a := d.Attempt(requestEntry(t, "x", failed))
	assert.Equal(t, "gpt-4o-mini", a.Route)
	assert.Equal(t, "TLS_error:|268435581?CERTIFICATE_VERIFY_FAILED", a.Details)
	assert.Equal(t, Provider, a.Blame)
	assert.False(t, a.Nowhere || a.Implied)

	a = d.Attempt(requestEntry(t, "x", failed, func(e *data.HTTPAccessLogEntry) { e.CommonProperties.UpstreamRemoteAddress = sinkAddress }))
	assert.True(t, a.Nowhere)

	a = d.Attempt(requestEntry(t, "x", answered(429, viaUpstream), func(e *data.HTTPAccessLogEntry) {
		e.CommonProperties.RouteName = "pass/openai"
		e.Response.ResponseHeaders["retry-after"] = "12"
	}))
	assert.Equal(t, "12", a.RetryAfter)
	assert.Empty(t, a.Route, "no model's entry")
	assert.Equal(t, viaUpstream, a.Details)
}

func TestWhatARequestImpliesOfItsLastAttempt(t *testing.T) {
	d := decoder(t)
	r := d.Request(requestEntry(t, "x", func(e *data.HTTPAccessLogEntry) {
		c := e.GetCommonProperties()
		c.TimeToFirstUpstreamTxByte = durationpb.New(50 * time.Millisecond)
		c.TimeToFirstUpstreamRxByte = durationpb.New(250 * time.Millisecond)
		c.TimeToLastUpstreamRxByte = durationpb.New(950 * time.Millisecond)
	}))
	assert.True(t, r.last[0].Implied)
	assert.Equal(t, "gpt-4o-mini", r.last[0].Route)
	assert.Equal(t, begun.Add(50*time.Millisecond), r.last[0].Time)
	assert.Equal(t, 200*time.Millisecond, r.last[0].FirstByte)
	assert.Equal(t, 900*time.Millisecond, r.last[0].Duration)
	r = d.Request(requestEntry(t, "x", func(e *data.HTTPAccessLogEntry) { e.CommonProperties.RouteName = "pass/openai" }))
	assert.Empty(t, r.last[0].Route)

	done := joiner(newClock(), 0).AddRequests([]*Request{&r})
	require.Len(t, done, 1)
	require.Len(t, done[0].Attempts, 1)
	assert.True(t, done[0].Attempts[0].Implied)
}

// An attempt at a provider of another form leaves that provider's path in the entry, and
// what was noted of the client's tells the endpoint.
func TestTheEndpointIsTheOneThatTheClientAsked(t *testing.T) {
	d := decoder(t)
	e := requestEntry(t, "id-1")
	e.Request.Path, e.Request.OriginalPath = "/model/us.anthropic.claude-3-haiku-20240307-v1%3A0/converse", ""
	r := d.Request(e)
	assert.Equal(t, Other, r.Endpoint)
	e.CommonProperties.Metadata.FilterMetadata["postern.form"] = fieldsOf(t, map[string]any{"path": "/chat/completions"})
	r = d.Request(e)
	assert.Equal(t, Chat, r.Endpoint)
}

// A stream whose answer says in the middle that it failed has the status 200.
func TestAnAnswerThatFailedInTheMiddleIsTheProvidersFault(t *testing.T) {
	d := decoder(t)
	e := requestEntry(t, "id-1")
	usageIs(t, map[string]any{"input": 7, "output": 3, "failed": "upstream_failed"})(e)
	r := d.Request(e)
	assert.Equal(t, 200, r.Status)
	assert.Equal(t, Provider, r.Blame)
	assert.Equal(t, Provider, r.last[0].Blame)

	flags(&data.ResponseFlags{DownstreamConnectionTermination: true})(e)
	r = d.Request(e)
	assert.Equal(t, Client, r.Blame, "the client had left by then")
}

// What the answer said of itself is judged as a status would be that says the same.
func TestWhoseFaultAnAnswerIsThatBrokeOff(t *testing.T) {
	d := decoder(t)
	for kind, want := range map[string]Blame{
		"rate_limited": Provider, "upstream_garbage": Provider, "upstream_timeout": Provider, "unavailable": Provider,
		"invalid_request": Client, "body_too_large": Client, "never heard of": Provider,
	} {
		e := requestEntry(t, "id-1")
		usageIs(t, map[string]any{"failed": kind})(e)
		r := d.Request(e)
		assert.Equal(t, want, r.Blame, kind)
		assert.Equal(t, kind, r.last[0].Failed)
	}
}

// Bedrock's own words: a used-up quota is a 400, a model that failed a 424.
func TestWhatBedrockRefuses(t *testing.T) {
	d := decoder(t)
	named := func(name string) func(*data.HTTPAccessLogEntry) {
		return func(e *data.HTTPAccessLogEntry) { e.Response.ResponseHeaders["x-amzn-errortype"] = name }
	}
	a := d.Attempt(attemptEntry(t, "x", 1, answered(424, "")))
	assert.Equal(t, Provider, a.Blame)
	a = d.Attempt(attemptEntry(t, "x", 1, answered(400, ""), named("ServiceQuotaExceededException:http://internal.amazon.com/coral/com.amazon/")))
	assert.Equal(t, Provider, a.Blame)
	assert.True(t, Throttled(a.Refused))
	a = d.Attempt(attemptEntry(t, "x", 1, answered(400, ""), named("ValidationException")))
	assert.Equal(t, Client, a.Blame)
	for name, want := range map[string]bool{
		"ThrottlingException": true, "throttlingException": true, "com.amazon.coral#ThrottledException": true, "TooManyRequestsException": true,
		"": false, ":": false, "#": false, "ModelErrorException": false,
	} {
		assert.Equal(t, want, Throttled(name), name)
	}
}

// The cluster tells with which of its provider's keys an attempt was made, and what the
// target is called where it is configured.
func TestWithWhichKeyAndAtWhichTarget(t *testing.T) {
	d := decoder(t)
	for cluster, want := range map[string][3]string{
		"provider/openai":               {"", "", "gpt-4o-mini"},
		"provider/openai#12":            {"12", "", "gpt-4o-mini"},
		"guarded/openai#3!@my-gpt":      {"3", "my-gpt", "my-gpt"},
		"provider/openai#!":             {"", "", "gpt-4o-mini"},
		"guarded/openai#0=own/*<gpt-*":  {"0", "own/*", "own/4o-mini"},
		"provider/openai#0=1#2@3<gpt-*": {"0", "1#2@3", "1#2@3"},
	} {
		early := d.Attempt(attemptEntry(t, "x", 1, at(cluster), answered(500, "")))
		r := d.Request(requestEntry(t, "x", at(cluster)))
		assert.Equal(t, want[0], r.last[0].Account, cluster)
		assert.Equal(t, want[1], r.last[0].Target, cluster)
		assert.Equal(t, want[2], r.last[0].Model, cluster)
		assert.Equal(t, want[0], early.Account, "%s, before the request ends", cluster)
		assert.Equal(t, want[1], early.Target, "%s, before the request ends", cluster)
	}
}
