package ssm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-proxy/postern/config/set"
)

// Lookup gives the values of ssm: references to a document that lies elsewhere, in a
// file, and says when one was rotated. A value that it had once stays for as long as
// the store cannot be asked, and Status says what could not be read.
type Lookup struct {
	Open func(ctx context.Context) (*Store, error) // called with the first reference
	Tree set.Tree                                  // Environment may be empty: then references need whole names
	Copy Copy                                      // for a start without the store

	Log *slog.Logger // nil is slog.Default

	mu     sync.Mutex
	store  *Store
	values map[string]Value  // by the parameter's whole name
	copied map[string]string // what this machine kept of another run
	wrong  map[string]error  // why a value is not the store's own
	told   string            // what Log heard of last
	asked  time.Time         // when the store last answered
	rest   int               // looks in a row that were throttled

	status atomic.Pointer[Status] // for who cannot wait for a look to end
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
	defer l.note()
	if value, ok := l.values[name]; ok && value.Version > 0 {
		return value.Text, nil // Run keeps it fresh
	}
	if l.values == nil {
		l.values, l.wrong = map[string]Value{}, map[string]error{}
		_ = readSecrets(l.Copy, l.Tree, &l.copied) // a start without any is a start
	}
	l.values[name] = Value{} // asked for again by Run, until there is one
	looking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	values, wrong := l.read(looking, []string{name}, true)
	if err := wrong[name]; err != nil {
		return l.last(name, err)
	}
	delete(l.wrong, name)
	l.values[name] = values[name]
	l.keep()
	return values[name].Text, nil
}

// read asks the store, which is opened with the first question.
func (l *Lookup) read(ctx context.Context, names []string, decrypted bool) (values map[string]Value, wrong map[string]error) {
	if l.store == nil {
		store, err := l.Open(ctx)
		if err != nil {
			wrong = map[string]error{}
			for _, name := range names {
				wrong[name] = fmt.Errorf("%s: %w", name, err)
			}
			return map[string]Value{}, wrong
		}
		l.store = store
	}
	values, wrong = l.store.get(ctx, names, decrypted)
	for _, name := range names {
		if wrong[name] == nil || errors.Is(wrong[name], fs.ErrNotExist) {
			l.asked = time.Now()
		}
	}
	return values, wrong
}

// last is the value that this machine kept, if it has one.
func (l *Lookup) last(name string, err error) (string, error) {
	if errors.Is(err, fs.ErrNotExist) {
		delete(l.copied, name) // a start is when what was taken away is
		return "", err
	}
	text, ok := l.copied[name]
	if !ok {
		return "", err
	}
	l.wrong[name] = err
	return text, nil
}

// keep keeps the values for a start without the store: those that were read, and those
// kept before that could not be, or were not asked for yet.
func (l *Lookup) keep() {
	texts := maps.Clone(l.copied)
	if texts == nil {
		texts = map[string]string{}
	}
	for name, value := range l.values {
		if value.Text != "" {
			texts[name] = value.Text
		}
	}
	if err := l.Copy.keepSecrets(l.Tree, texts); err != nil { // a full disk keeps nobody from serving
		l.log().Warn("the values of ssm: secrets could not be kept on this machine: a start without Parameter Store would miss them", "reason", err.Error())
	}
}

func (l *Lookup) log() *slog.Logger {
	if l.Log == nil {
		return slog.Default()
	}
	return l.Log
}

// Status says how the secrets are; nil if none was asked for.
func (l *Lookup) Status() *Status { return l.status.Load() }

func (l *Lookup) note() {
	status := &Status{Asked: l.asked, Error: l.trouble()}
	for name := range l.wrong {
		status.Local = status.Local || l.values[name].Version == 0
	}
	l.status.Store(status)
}

// trouble is what keeps values from being the store's own, a line each.
func (l *Lookup) trouble() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(l.wrong)) {
		lines = append(lines, l.wrong[name].Error())
	}
	return strings.Join(lines, "\n")
}

// Run looks every so often whether a secret that was asked for has another version,
// and calls changed; until ctx ends. The document must have been loaded: what this
// machine kept and the document does not ask for is forgotten.
func (l *Lookup) Run(ctx context.Context, poll time.Duration, changed func()) {
	l.begin()
	for {
		timer := time.NewTimer(pause(poll, l.rest))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if l.rotated(ctx) {
			changed()
		}
	}
}

func (l *Lookup) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.copied, func(name, _ string) bool {
		_, wanted := l.values[name]
		return !wanted
	})
	l.tell()
}

// rotated reads what has another version than we have, or can be read at last.
func (l *Lookup) rotated(ctx context.Context) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.values) == 0 {
		return false
	}
	looking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	now, wrong := l.read(looking, slices.Sorted(maps.Keys(l.values)), false)
	var stale []string
	for name, value := range now {
		if value.Version != l.values[name].Version {
			stale = append(stale, name)
		}
	}
	values, unread := l.read(looking, stale, true)
	if ctx.Err() != nil {
		return false
	}
	maps.Copy(wrong, unread)
	defer l.note()
	l.judge(wrong)
	maps.Copy(l.values, values)
	if len(values) > 0 {
		l.keep()
	}
	return len(values) > 0
}

// judge takes note of what could not be read: its value stays as it is.
func (l *Lookup) judge(wrong map[string]error) {
	l.rest++
	if !slices.ContainsFunc(slices.Collect(maps.Values(wrong)), throttled) {
		l.rest = 0
	}
	l.wrong = map[string]error{}
	for name, err := range wrong {
		gone := errors.Is(err, fs.ErrNotExist)
		switch had := l.values[name].Text != "" || l.copied[name] != ""; {
		case gone && had:
			l.wrong[name] = wasThere(name)
		case !gone:
			l.wrong[name] = err
		}
	}
	l.tell()
}

// tell logs what is wrong, once however long it lasts, and when it is over.
func (l *Lookup) tell() {
	text := l.trouble()
	switch text {
	case l.told:
	case "":
		l.log().Info("the ssm: secrets can be read again")
	default:
		l.log().Error("ssm: secrets cannot be read: what they were stays", "reason", text)
	}
	l.told = text
}
