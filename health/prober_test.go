package health

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/test/fake/dns"
	"github.com/postern-proxy/postern/test/fake/openai"
)

const secret = "sk-do-not-print-me"

func at(url string) *config.Provider {
	return &config.Provider{Schema: "openai", URL: url + "/v1", Key: config.NewSecret("${KEY}", secret)}
}

func asked(t *testing.T, p *config.Provider) Outcome {
	t.Helper()
	return askedFor(t, p, 10*time.Second)
}

func askedFor(t *testing.T, p *config.Provider, timeout time.Duration) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	o := Sum(Ask(ctx, "a", p))
	assert.True(t, o.Probe)
	assert.Equal(t, "a", o.Provider)
	assert.NotContains(t, fmt.Sprintf("%#v", o), secret)
	return o
}

func TestAskSaysWhatAnAnswerMeans(t *testing.T) {
	html := openai.Behavior{Body: []byte("<html>Welcome to the hotel's network</html>")}
	scopes := openai.Status(401)
	scopes.Body = []byte(`{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read","type":"invalid_request_error"}}`)
	for name, test := range map[string]struct {
		behavior openai.Behavior
		result   Result
		class    Class
	}{
		"a list":              {openai.Behavior{}, Good, ""},
		"a list in an array":  {openai.Behavior{Body: []byte(`[{"id":"m"}]`)}, Good, ""},
		"strange fields":      {openai.Behavior{Body: []byte(`{"data":[{"id":7,"created":"2026"}]}`)}, Good, ""},
		"no list":             {openai.Status(404), Good, ""},
		"not allowed":         {openai.Status(405), Good, ""},
		"too many":            {openai.RateLimited(time.Minute), Good, ""},
		"a redirect":          {openai.Redirect("http://127.0.0.1:1/"), Good, ""},
		"not implemented":     {openai.Status(501), Good, ""},
		"no right to ask":     {openai.Status(403), Good, ""},
		"missing scopes":      {scopes, Good, ""},
		"a bad key":           {openai.Status(401), Failed, BadKey},
		"a bad key, no JSON":  {openai.Behavior{Status: 401, Body: []byte("no")}, Failed, BadKey},
		"it failed":           {openai.Status(500), Failed, Server},
		"it failed, in HTML":  {openai.Behavior{Status: 502, Body: html.Body}, Failed, Server},
		"somebody else":       {html, Failed, Malformed},
		"half a list":         {openai.GarbageJSON(), Failed, Malformed},
		"nothing":             {openai.Behavior{Body: []byte{}}, Failed, Malformed},
		"not HTTP":            {openai.Garbage(), Failed, Malformed},
		"huge headers":        {openai.HugeHeaders(200 << 10), Failed, Malformed},
		"closed":              {openai.NoAnswer(openai.Close), Failed, Reset},
		"reset":               {openai.NoAnswer(openai.Reset), Failed, Reset},
		"silence":             {openai.NoAnswer(openai.Stall), Failed, Timeout},
		"stalled after a 200": {openai.BreakOff(openai.Stall), Failed, Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			server := openai.Start(t)
			server.Always(test.behavior)
			timeout := 10 * time.Second
			if test.class == Timeout {
				timeout = 300 * time.Millisecond
			}
			o := askedFor(t, at(server.URL()), timeout)
			assert.Equal(t, test.result.String(), o.Result.String())
			assert.Equal(t, test.class, o.Class)
			assert.Equal(t, 1, server.Counts().Requests, "nothing is followed or tried again")
		})
	}
}

func TestAskOfWhoIsNotThere(t *testing.T) {
	server := openai.Start(t)
	server.Refuse()
	assert.Equal(t, Refused, asked(t, at(server.URL())).Class)
	assert.Equal(t, DNS, asked(t, at("http://nobody.invalid")).Class)

	silent := openai.Start(t)
	silent.Greet(openai.SayNought)
	assert.Equal(t, Timeout, askedFor(t, at(silent.URL()), 300*time.Millisecond).Class)
}

func TestAskTrustsWhomTheConfigurationTrusts(t *testing.T) {
	for name, options := range map[string][]openai.Option{
		"HTTP/2": {openai.WithTLS(nil)}, "HTTP/1.1": {openai.WithTLS(nil), openai.WithoutHTTP2()},
	} {
		t.Run(name, func(t *testing.T) {
			server := openai.Start(t, append(options, openai.WithKey(secret))...)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			require.NoError(t, os.WriteFile(ca, server.CA(), 0o600))
			document := fmt.Sprintf(`
providers: {a: {schema: openai, url: "%s/v1", key: "${KEY}", ca: "file:%s", headers: {OpenAI-Organization: org-1}}}
models: {m: {route: [[{provider: a}]]}}`, server.URL(), ca)
			cfg, err := config.Parse("test", []byte(document), config.Env{
				Lookup: func(string) (string, bool) { return secret, true }, ReadFile: os.ReadFile,
			})
			require.NoError(t, err)
			assert.Equal(t, Good.String(), asked(t, cfg.Providers["a"]).Result.String())
			r := server.Last()
			assert.Equal(t, "GET /v1/models", r.Method+" "+r.Path)
			assert.Equal(t, "org-1", r.Header.Get("Openai-Organization"))
			assert.Equal(t, "application/json", r.Header.Get("Accept"))
			assert.Empty(t, r.Header.Get("Content-Type"))

			assert.Equal(t, TLS, asked(t, at(server.URL())).Class, "the system does not know this authority")
			assert.Equal(t, 1, server.Counts().Requests, "who is not trusted gets no key")
		})
	}
	plain := openai.Start(t)
	assert.Equal(t, TLS, asked(t, at(strings.Replace(plain.URL(), "http:", "https:", 1))).Class)
}

func TestAskWithSeveralKeysNeedsOneThatIsGood(t *testing.T) {
	server := openai.Start(t, openai.WithKey(secret))
	p := at(server.URL())
	p.Key = config.Secret{}
	p.Keys = []config.Key{{Key: config.NewSecret("${OLD}", "sk-old")}, {Key: config.NewSecret("${NEW}", secret)}}
	assert.Equal(t, Good.String(), asked(t, p).Result.String())
	all := Ask(t.Context(), "a", p)
	require.Len(t, all, 2)
	assert.Equal(t, []any{"0", BadKey, false}, []any{all[0].Key, all[0].Class, all[0].Accepted})
	assert.Equal(t, []any{"1", Class(""), true}, []any{all[1].Key, all[1].Class, all[1].Accepted})
	p.Keys = p.Keys[:1]
	assert.Equal(t, BadKey, asked(t, p).Class)
	server.Refuse()
	p.Keys = append(p.Keys, p.Keys...)
	assert.Len(t, Ask(t.Context(), "a", p), 1, "who is not there is not asked again")
}

func TestAskLeavesNoConnection(t *testing.T) {
	for _, option := range []openai.Option{openai.WithKey(secret), openai.WithKey("another")} {
		server := openai.Start(t, option)
		before := goleak.IgnoreCurrent()
		asked(t, at(server.URL()))
		goleak.VerifyNone(t, before)
	}
}

func TestAskOfAzure(t *testing.T) {
	server := openai.Start(t)
	p := at(server.URL())
	p.Schema, p.URL, p.APIVersion = "azure", server.URL()+"/openai/v1", "2024-10-21"
	require.True(t, askable(p))
	assert.Equal(t, Good.String(), asked(t, p).Result.String())
	r := server.Last()
	assert.Equal(t, "/openai/v1/models?api-version=2024-10-21", r.Target)
	assert.Equal(t, secret, r.Header.Get("Api-Key"))
	assert.Empty(t, r.Header.Get("Authorization"))
	p.URL = server.URL() + "/openai"
	assert.False(t, askable(p), "the older form lists no models there")
}

func TestAskReadsOnlySoMuch(t *testing.T) {
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(`"x",`, 16<<10))
		_, _ = w.Write([]byte(`{"data":[`))
		for sent.Load() < 64<<20 {
			n, err := w.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	defer server.Close()
	o := Sum(Ask(t.Context(), "a", at(server.URL)))
	assert.Equal(t, Malformed, o.Class)
	assert.Less(t, sent.Load(), int64(32<<20))
}

func TestBuiltinsAndTheUnusableAreNotAsked(t *testing.T) {
	var missing config.Secret
	require.NoError(t, missing.UnmarshalText([]byte("${MISSING}")))
	assert.False(t, askable(nil))
	assert.False(t, askable(&config.Provider{Schema: "openai", Builtin: "demo"}))
	assert.False(t, askable(&config.Provider{Schema: "openai", URL: "http://127.0.0.1:1/v1", Key: missing}))
	assert.True(t, askable(&config.Provider{Schema: "openai", URL: "http://127.0.0.1:1/v1"}))
}

// ward is a Prober in a bubble, with providers that answer as a test says.
type ward struct {
	tracker *Tracker
	config  atomic.Pointer[config.Config]

	mu     sync.Mutex
	says   map[string]Outcome
	takes  time.Duration
	slow   string // whose names begin so do not answer
	asked  map[string][]time.Time
	atOnce int
	most   int
}

func (w *ward) ask(ctx context.Context, name string, _ *config.Provider) []Outcome {
	w.mu.Lock()
	w.asked[name] = append(w.asked[name], time.Now())
	w.atOnce++
	w.most = max(w.most, w.atOnce)
	o, ok := w.says[name]
	takes := w.takes
	if w.slow != "" && strings.HasPrefix(name, w.slow) {
		takes = time.Hour
	}
	w.mu.Unlock()
	if !ok {
		o = probe(name, Good, "")
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		o = probe(name, Failed, Timeout)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.atOnce--
	return []Outcome{o}
}

func (w *ward) say(o Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.says[o.Provider] = o
}

func (w *ward) times(name string) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Time{}, w.asked[name]...)
}

func probing(t *testing.T, cfg *config.Config, p Prober) *ward {
	t.Helper()
	w := &ward{tracker: NewTracker(Settings{Jitter: func() float64 { return 0.5 }}), says: map[string]Outcome{}, asked: map[string][]time.Time{}}
	w.config.Store(cfg)
	w.tracker.Configure(cfg)
	p.Config, p.Tracker, p.Ask = w.config.Load, w.tracker, w.ask
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return w
}

func TestIdleProvidersAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := probing(t, three("order"), Prober{})
		time.Sleep(2 * time.Second)
		for _, name := range []string{"a", "b", "c"} {
			assert.Len(t, w.times(name), 1, "soon after the start")
		}
		for range 60 { // a is used
			w.tracker.Observe(good("a", "m"))
			time.Sleep(time.Second)
		}
		assert.Len(t, w.times("a"), 1)
		times := w.times("b")
		assert.GreaterOrEqual(t, len(times), 5)
		for i := 1; i < len(times); i++ {
			gap := times[i].Sub(times[i-1])
			assert.GreaterOrEqual(t, gap, 12*time.Second)
			assert.LessOrEqual(t, gap, 16*time.Second)
		}
		time.Sleep(17 * time.Second)
		assert.Len(t, w.times("a"), 2, "it is idle now")
	})
}

func TestAConfigurationSaysHowOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := three("order")
		cfg.Health = config.Health{Probe: config.Interval(time.Minute), ProbeTimeout: config.Duration(time.Second)}
		w := probing(t, cfg, Prober{})
		time.Sleep(46 * time.Second)
		assert.Len(t, w.times("a"), 1)
		next := three("order")
		next.Health = config.Health{Probe: config.Interval(2 * time.Second), ProbeTimeout: config.Duration(100 * time.Millisecond)}
		w.mu.Lock()
		w.takes = 500 * time.Millisecond
		w.mu.Unlock()
		w.config.Store(next)
		time.Sleep(10 * time.Second)
		assert.GreaterOrEqual(t, len(w.times("a")), 4)
		assert.Equal(t, Timeout, view(t, w.tracker, "a", "").Class)
		off := three("order")
		off.Health.Probe = config.Never
		w.config.Store(off)
		time.Sleep(2 * time.Second)
		n := len(w.times("a"))
		time.Sleep(time.Hour)
		assert.Len(t, w.times("a"), n)
	})
}

// TestAHangingProbeDoesNotPutOffTheNext: who comes back while one waits is noticed as soon
// as who comes back at any other time.
func TestAHangingProbeDoesNotPutOffTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := three("order")
		cfg.Health = config.Health{Probe: config.Interval(4 * time.Second), ProbeTimeout: config.Duration(4 * time.Second)}
		w := probing(t, cfg, Prober{})
		w.mu.Lock()
		w.slow = "b"
		w.mu.Unlock()
		time.Sleep(time.Minute)
		times := w.times("b")
		for i := 1; i < len(times); i++ {
			assert.LessOrEqual(t, times[i].Sub(times[i-1]), 4*time.Second+time.Second/2, "its timeout, and a look at the clock")
		}
		assert.Greater(t, len(times), 12)
	})
}

func TestABusyProviderIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := probing(t, three("order"), Prober{})
		for range 60 {
			w.tracker.Observe(good("a", "m"))
			time.Sleep(time.Second)
		}
		assert.Len(t, w.times("a"), 1, "so that it is known whether it has a list")
	})
}

func TestAnOpenProviderIsAskedSoonerAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := probing(t, three("order"), Prober{})
		time.Sleep(3 * time.Second)
		w.say(probe("a", Failed, Refused))
		several(5, failed("a", "m", Refused), w.tracker)
		opened := time.Now()
		time.Sleep(4 * time.Second)
		assert.Len(t, w.times("a"), 2, "before the next attempt may try")
		time.Sleep(time.Minute)
		v := view(t, w.tracker, "a", "m")
		assert.Equal(t, Open, v.State, "a provider that probes know to be down gets no client's attempt")
		assert.Equal(t, opened, v.Since)
		w.say(probe("a", Good, ""))
		time.Sleep(5 * time.Second)
		assert.Equal(t, Closed, view(t, w.tracker, "a", "m").State)
		assert.Equal(t, Closed, view(t, w.tracker, "a", "").State)
		n := len(w.times("a"))
		time.Sleep(6 * time.Second)
		assert.Len(t, w.times("a"), n, "and is left in peace again")
	})
}

func TestASlowProbeKeepsOpenWhatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := probing(t, three("order"), Prober{})
		time.Sleep(3 * time.Second)
		w.mu.Lock()
		w.takes = time.Hour
		w.mu.Unlock()
		time.Sleep(2 * time.Minute)
		v := view(t, w.tracker, "b", "")
		require.Equal(t, Open, v.State)
		assert.Equal(t, Timeout, v.Class)
		since := v.Since
		for range 60 {
			time.Sleep(time.Second)
			v = view(t, w.tracker, "b", "")
			require.Equal(t, Open, v.State)
			require.Equal(t, since, v.Since)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		assert.LessOrEqual(t, w.most, 3)
	})
}

func TestOnlyAFewAreAskedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := three("order")
		for i := range 20 {
			cfg.Providers[fmt.Sprint("p", i)] = at("http://127.0.0.1:1")
		}
		w := probing(t, cfg, Prober{AtOnce: 2})
		w.mu.Lock()
		w.takes = 200 * time.Millisecond
		w.mu.Unlock()
		time.Sleep(10 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		assert.Equal(t, 2, w.most)
		assert.Len(t, w.asked, 23)
	})
}

// Those that are slow to fail come first by name, and keep nobody else from being asked.
func TestNobodyWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := three("order")
		for i := range 7 {
			cfg.Providers[fmt.Sprint("a-hangs-", i)] = at("http://127.0.0.1:1")
		}
		w := probing(t, cfg, Prober{AtOnce: 2, Every: 2 * time.Second, Timeout: 5 * time.Second})
		w.mu.Lock()
		w.slow = "a-hangs-"
		w.mu.Unlock()
		time.Sleep(2 * time.Minute)
		fewest, most := 1000, 0
		for name := range cfg.Providers {
			n := len(w.times(name))
			fewest, most = min(fewest, n), max(most, n)
		}
		assert.Positive(t, fewest)
		assert.LessOrEqual(t, most, 2*fewest)
	})
}

func TestANewConfigurationIsAskedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := probing(t, three("order"), Prober{})
		w.mu.Lock()
		w.takes = 3 * time.Second
		w.mu.Unlock()
		w.say(probe("a", Failed, Refused))
		time.Sleep(2 * time.Second)
		next := three("order")
		delete(next.Providers, "c")
		next.Models["m"].Route = next.Models["m"].Route[:2]
		next.Providers["a"].URL += "/elsewhere"
		w.tracker.Configure(next)
		w.config.Store(next)
		w.say(probe("a", Good, ""))
		time.Sleep(8 * time.Second)
		assert.Len(t, w.times("a"), 2)
		assert.Len(t, w.times("c"), 1)
		assert.Zero(t, view(t, w.tracker, "a", "").ErrorAt, "an answer of before says nothing")
		assert.NotZero(t, view(t, w.tracker, "a", "").GoodAt)
	})
}

// A real provider that goes and comes, a Prober and a Keeper: the order follows.
func TestARecoveredProviderIsFirstAgain(t *testing.T) {
	server := openai.Start(t)
	other := openai.Start(t)
	cfg := configure("order", map[string]groups{"m": {{to("a")}, {to("b")}}})
	cfg.Providers = map[string]*config.Provider{"a": at(server.URL()), "b": at(other.URL())}
	tracker := NewTracker(Settings{Open: 200 * time.Millisecond})
	tracker.Configure(cfg)
	orders := make(chan map[string][]int, 100)
	keeper := Keeper{
		Config: func() *config.Config { return cfg }, Tracker: tracker, Every: 20 * time.Millisecond,
		Push: func(_ *config.Config, plan Plan) error { orders <- plan.Order; return nil },
	}
	prober := Prober{Config: keeper.Config, Tracker: tracker, Every: 150 * time.Millisecond, Timeout: time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { assert.NoError(t, keeper.Run(ctx)) })
	running.Go(func() { assert.NoError(t, prober.Run(ctx)) })
	next := func() map[string][]int {
		select {
		case order := <-orders:
			return order
		case <-time.After(10 * time.Second):
			t.Fatal("no order came")
			return nil
		}
	}
	require.Eventually(t, func() bool { return !view(t, tracker, "a", "").GoodAt.IsZero() }, 10*time.Second, 5*time.Millisecond)
	assert.Empty(t, next(), "the order as configured")
	server.Refuse()
	assert.Equal(t, map[string][]int{"m": {1, 0}}, next())
	require.NoError(t, server.Resume())
	assert.Empty(t, next())
	cancel()
	running.Wait()
}

// The classes of errors that no server here can make.
func TestUnanswered(t *testing.T) {
	for want, err := range map[Class]error{
		Connect: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		Refused: &net.OpError{Op: "dial", Err: os.ErrPermission},
		TLS:     &net.OpError{Op: "remote error", Err: os.ErrInvalid},
		Timeout: context.DeadlineExceeded,
	} {
		assert.Equal(t, want, unanswered(fmt.Errorf("asked: %w", err)))
	}
}

// TestAskFindsNamesAsEnvoyDoes: by the configuration's resolvers, of which one may be down.
func TestAskFindsNamesAsEnvoyDoes(t *testing.T) {
	server, names, silent := openai.Start(t), dns.Start(t), dns.Start(t)
	silent.Become(dns.Mood{Fail: true})
	_, port, err := net.SplitHostPort(server.Address())
	require.NoError(t, err)
	c, err := config.Parse("postern.yaml", fmt.Appendf(nil, `
dns: {resolvers: [%q, %q]}
providers: {a: {schema: openai, url: "http://models.postern.test:%s/v1"}}
models: {m: {route: [[{provider: a}]]}}
`, silent.Address(), names.Address(), port), config.Env{})
	require.NoError(t, err)
	assert.Equal(t, DNS, asked(t, c.Providers["a"]).Class)
	names.Set("models.postern.test", "127.0.0.1")
	assert.Equal(t, Good, asked(t, c.Providers["a"]).Result)
	assert.Positive(t, silent.Asked("models.postern.test"))
}
