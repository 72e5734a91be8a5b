package health

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postern-proxy/postern/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that moves when a test says so.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// exact are settings without chance: an open breaker stays so for 5s, 10s, 20s, 30s.
func exact(c *clock) Settings {
	return Settings{Now: c.Now, Jitter: func() float64 { return 0.5 }}
}

// groups are a route.
type groups [][]config.Target

func to(provider string, model ...string) config.Target {
	t := config.Target{Provider: provider}
	if len(model) > 0 {
		t.Model = model[0]
	}
	return t
}

func weighing(t config.Target, weight int) config.Target {
	t.Weight = &weight
	return t
}

// configure is a configuration with three providers and these entries.
func configure(prefer string, entries map[string]groups) *config.Config {
	cfg := &config.Config{Providers: map[string]*config.Provider{}, Models: map[string]*config.Model{}}
	for _, name := range []string{"a", "b", "c"} {
		cfg.Providers[name] = &config.Provider{Schema: "openai", URL: "https://" + name + ".example.com/v1"}
	}
	for entry, route := range entries {
		cfg.Models[entry] = &config.Model{Route: route, Prefer: prefer}
	}
	return cfg
}

// three is a model at each of three providers.
func three(prefer string) *config.Config {
	return configure(prefer, map[string]groups{"m": {{to("a")}, {to("b")}, {to("c")}}})
}

// view finds one view.
func view(t *testing.T, tracker *Tracker, provider, model string) View {
	t.Helper()
	for _, v := range tracker.Views() {
		if v.Provider == provider && v.Model == model {
			return v
		}
	}
	t.Fatalf("there is no view of %s %s", provider, model)
	return View{}
}

func failed(provider, model string, class Class) Outcome {
	return Outcome{Provider: provider, Model: model, Result: Failed, Class: class}
}

func good(provider, model string) Outcome {
	return Outcome{Provider: provider, Model: model, Result: Good}
}

func probe(provider string, result Result, class Class) Outcome {
	return Outcome{Provider: provider, Result: result, Class: class, Probe: true, Accepted: result == Good}
}

func several(n int, o Outcome, tracker *Tracker) {
	for range n {
		tracker.Observe(o)
	}
}
