package ssm

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/postern-proxy/postern/config/set"
)

// Lookup gives the values of ssm: references to a document that lies elsewhere, in a
// file, and says when one was rotated. A value that it had once stays for as long as
// the store cannot be asked.
type Lookup struct {
	Open func(ctx context.Context) (*Store, error) // called with the first reference
	Tree set.Tree                                  // Environment may be empty: then references need whole names
	Copy Copy                                      // for a start without the store

	mu     sync.Mutex
	store  *Store
	values map[string]Value // by the parameter's whole name
	copied map[string]string
}

// Get is for config.LoadWith, with a context that bounds each question.
func (l *Lookup) Get(ctx context.Context) func(name string) (string, error) {
	return func(name string) (string, error) {
		if name[0] != '/' && l.Tree.Environment == "" {
			return "", errors.New("ssm:" + name + " is looked up among the secrets of an environment: say which with --env, or give the whole name, ssm:/…")
		}
		return l.get(ctx, l.Tree.Secret(name))
	}
}

func (l *Lookup) get(ctx context.Context, name string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if value, ok := l.values[name]; ok && value.Version > 0 {
		return value.Text, nil // Run keeps it fresh
	}
	if l.values == nil {
		l.values = map[string]Value{}
		_ = readSecrets(l.Copy, l.Tree, &l.copied) // a start without any is a start
	}
	if err := l.open(ctx); err != nil {
		return l.last(name, err)
	}
	looking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	values, wrong := l.store.get(looking, []string{name}, true)
	if err := wrong[name]; err != nil {
		l.values[name] = Value{} // asked for again by Run
		return l.last(name, err)
	}
	l.values[name] = values[name]
	l.keep()
	return values[name].Text, nil
}

func (l *Lookup) open(ctx context.Context) error {
	if l.store != nil {
		return nil
	}
	store, err := l.Open(ctx)
	l.store = store
	return err
}

// last is the value that this machine kept, if it has one.
func (l *Lookup) last(name string, err error) (string, error) {
	if text, ok := l.copied[name]; ok && !errors.Is(err, fs.ErrNotExist) {
		return text, nil
	}
	return "", err
}

func (l *Lookup) keep() {
	texts := map[string]string{}
	for name, value := range l.values {
		if value.Text != "" {
			texts[name] = value.Text
		}
	}
	_ = l.Copy.keepSecrets(l.Tree, texts) // a full disk keeps nobody from serving
}

// Run looks every so often whether a secret that was asked for has another version,
// and calls changed; until ctx ends.
func (l *Lookup) Run(ctx context.Context, poll time.Duration, changed func()) {
	if poll <= 0 {
		poll = DefaultPoll
	}
	for {
		pause := time.NewTimer(poll - rand.N(poll/5+1)) //nolint:gosec // spreads a fleet, keeps no secret
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		if l.rotated(ctx) {
			changed()
		}
	}
}

// rotated reads what has another version than we have, or can be read at last.
func (l *Lookup) rotated(ctx context.Context) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.values) == 0 || l.open(ctx) != nil {
		return false
	}
	names := make([]string, 0, len(l.values))
	for name := range l.values {
		names = append(names, name)
	}
	looking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	now, _ := l.store.get(looking, names, false) // what cannot be read keeps its value
	var stale []string
	for name, value := range now {
		if value.Version != l.values[name].Version {
			stale = append(stale, name)
		}
	}
	values, _ := l.store.get(looking, stale, true)
	maps.Copy(l.values, values)
	if len(values) > 0 {
		l.keep()
	}
	return len(values) > 0
}
