package ssm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
)

// The times of a Source.
const (
	DefaultPoll = 10 * time.Second
	MinPoll     = time.Second
	within      = 45 * time.Second // for one look, with all its tries
	withCopy    = 10 * time.Second // for the first look of a start that can do without
	longestRest = time.Minute      // between looks, when the store asks for fewer
)

// Source follows the set in force. Open gives the first configuration; Run tells of
// each further one.
type Source struct {
	Store *Store
	Env   config.Env // the environment and the files of this machine
	Copy  Copy
	Log   *slog.Logger

	// Notify is called from Run with each new configuration, and with each error that
	// keeps the store from giving one: once, however long it lasts. A configuration
	// that comes after an error may be the one in force already. It gives an error if
	// it cannot take the configuration, which is then not kept as the last good one.
	Notify func(*config.Config, error) error

	// Poll is the longest time between two looks at the pointer and at the secrets'
	// versions; zero is DefaultPoll. Each pause is up to a fifth shorter, so that a
	// fleet does not ask all at once.
	Poll time.Duration

	// Again asks for a look out of turn; nil never does.
	Again <-chan struct{}

	now    sight
	told   string // the error that Notify heard of last
	rest   int    // looks in a row that were throttled
	status atomic.Pointer[Status]
}

// sight is what the last good look found.
type sight struct {
	id      string
	version int64 // of the pointer
	parts   []set.Part
	secrets map[string]Value  // by the parameter's whole name
	files   map[string]string // what file: references gave
	config  *config.Config
	failed  bool // the last look gave no configuration
}

// Status is how a Source is; for people and for metrics.
type Status struct {
	Set     string    `json:"set"`                  // in force here
	Pointer string    `json:"pointer,omitempty"`    // in force in the store, when it was last read
	Asked   time.Time `json:"asked,omitzero"`       // when the store last answered
	Local   bool      `json:"local,omitempty"`      // the set in force comes from the local copy
	Error   string    `json:"last_error,omitempty"` // why the store's set is not in force
}

// Status says how the source is.
func (s *Source) Status() Status {
	if status := s.status.Load(); status != nil {
		return *status
	}
	return Status{}
}

func (s *Source) note(change func(*Status)) {
	status := s.Status()
	change(&status)
	s.status.Store(&status)
}

// Open reads the set in force, or, where that cannot be had or is not valid, the last
// good one that this machine kept.
func (s *Source) Open(ctx context.Context) (*config.Config, error) {
	// The copy comes first: a secret that it has and the store has lost must not
	// take a provider away.
	copied, copyErr := s.local()
	if copyErr == nil {
		s.now = copied
	}
	patience := within
	if copyErr == nil {
		patience = withCopy
	}
	looking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	next, err := s.look(looking)
	if err == nil {
		s.now = next
		s.note(func(st *Status) { st.Set = next.id })
		s.keep(next)
		return next.config, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if errors.Is(copyErr, fs.ErrNotExist) {
		return nil, err
	}
	if copyErr != nil {
		return nil, errors.Join(err, fmt.Errorf("and the local copy is no help: %w", copyErr))
	}
	s.note(func(st *Status) { st.Set, st.Local, st.Error = copied.id, true, err.Error() })
	s.Log.Warn("starting with the local copy of the last good set", "set", copied.id, "reason", err.Error())
	return copied.config, nil
}

// local is what the copy gives.
func (s *Source) local() (sight, error) {
	id, parts, values, err := s.Copy.load(s.Store.Tree)
	if err != nil {
		return sight{}, err
	}
	found := sight{id: id, parts: parts, secrets: map[string]Value{}, failed: true}
	for name, text := range values {
		found.secrets[name] = Value{Text: text}
	}
	return found, s.assemble(&found, s.Copy.file(s.Store.Tree), func(key string) string { return s.Copy.file(s.Store.Tree) + " " + key }, nil)
}

// keep keeps a sight as the local copy. A disk that is full keeps nobody from serving.
func (s *Source) keep(next sight) {
	secrets := map[string]string{}
	for name, value := range next.secrets {
		if value.Text != "" {
			secrets[name] = value.Text
		}
	}
	if err := s.Copy.save(s.Store.Tree, next.id, next.parts, secrets); err != nil {
		s.Log.Warn("the last good set could not be kept on this machine: a start without Parameter Store would miss it", "reason", err.Error())
	}
}

// Run looks at the store until ctx ends, and then returns nil. The first look comes
// at once.
func (s *Source) Run(ctx context.Context) error {
	if s.Notify == nil || s.now.config == nil {
		return errors.New("ssm: a Source must be opened, and have a function to Notify")
	}
	if status := s.Status(); status.Local {
		s.tell(nil, errors.New(status.Error))
	}
	for {
		s.check(ctx)
		timer := time.NewTimer(pause(s.Poll, s.rest))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.Again:
			timer.Stop()
		}
	}
}

// pause is the time until the next look, after as many in a row that were throttled.
func pause(poll time.Duration, throttled int) time.Duration {
	if poll <= 0 {
		poll = DefaultPoll
	}
	for range min(throttled, 8) {
		if poll < longestRest {
			poll = min(2*poll, longestRest)
		}
	}
	return poll - rand.N(poll/5+1) //nolint:gosec // spreads a fleet, keeps no secret
}

// check takes what changed.
func (s *Source) check(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	changed, err := s.changed(looking)
	var next sight
	if err == nil && changed {
		next, err = s.look(looking)
	}
	if ctx.Err() != nil {
		return
	}
	s.rest++
	if !throttled(err) {
		s.rest = 0
	}
	switch {
	case err != nil:
		s.now.failed = true
		s.tell(nil, err)
	case changed:
		s.take(next)
	}
}

// take tells of a new configuration, and keeps it if it was taken.
func (s *Source) take(next sight) {
	err := s.Notify(next.config, nil)
	if err != nil {
		// The gate has said why already; its words are kept for the status. The
		// same set is not tried again until something changes.
		s.note(func(st *Status) { st.Error = err.Error() })
		s.now.version, s.now.secrets, s.now.files, s.now.failed = next.version, next.secrets, next.files, false
		return
	}
	s.now, s.told = next, ""
	s.note(func(st *Status) { st.Set, st.Local, st.Error = next.id, false, "" })
	s.keep(next)
}

// tell tells of an error, once.
func (s *Source) tell(cfg *config.Config, err error) {
	s.note(func(st *Status) { st.Error = err.Error() })
	if err.Error() != s.told {
		s.told = err.Error()
		_ = s.Notify(cfg, err) // there is nothing to take
	}
}

// changed asks for the versions of the pointer and of the secrets, in one call for up
// to nine of them and without decrypting any, and looks at the files.
func (s *Source) changed(ctx context.Context) (bool, error) {
	active := s.Store.Tree.Active()
	names := append([]string{active}, slices.Sorted(maps.Keys(s.now.secrets))...)
	values, wrong := s.Store.get(ctx, names, false)
	if err := wrong[active]; errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("%s: %w", active, ErrNothing)
	} else if err != nil {
		return false, err
	}
	s.note(func(st *Status) { st.Asked = time.Now() })
	changed := s.now.failed || values[active].Version != s.now.version
	for _, name := range names[1:] {
		if wrong[name] != nil && throttled(wrong[name]) {
			return false, wrong[name]
		}
		// One that is not there has the version 0, in the sight too.
		unreadable := wrong[name] != nil && !errors.Is(wrong[name], fs.ErrNotExist)
		changed = changed || unreadable || values[name].Version != s.now.secrets[name].Version
	}
	for name, text := range s.now.files {
		changed = changed || s.file(name) != text
	}
	return changed, nil
}

func (s *Source) file(name string) string {
	if s.Env.ReadFile == nil {
		return ""
	}
	text, err := s.Env.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(text)
}

// look reads the set in force, whole, with its secrets.
func (s *Source) look(ctx context.Context) (sight, error) {
	state, err := s.Store.Active(ctx)
	if err != nil {
		return sight{}, err
	}
	s.note(func(st *Status) { st.Pointer, st.Asked = state.Set, time.Now() })
	texts := map[string]string{}
	for _, p := range s.now.parts {
		texts[p.Key()+" "+p.Hash()] = p.Text
	}
	found, err := s.Store.Read(ctx, state.Set, func(place set.Place) (string, bool) {
		text, ok := texts[place.Key+" "+place.Hash]
		return text, ok
	})
	if err != nil {
		return sight{}, err
	}
	next := sight{id: state.Set, version: state.Version, parts: found.Parts}
	tree := s.Store.Tree
	names := set.Parameters(next.parts, s.Env)
	for i, name := range names {
		names[i] = tree.Secret(name)
	}
	slices.Sort(names)
	values, wrong := s.Store.get(ctx, slices.Compact(names), true)
	next.secrets = values
	for name, err := range wrong {
		next.secrets[name] = Value{} // asked for again with each look
		if throttled(err) {
			return sight{}, err
		}
		if was, had := s.now.secrets[name]; had && was.Text != "" && errors.Is(err, fs.ErrNotExist) {
			// It worked a moment ago: who serves with it must not lose it to a
			// tool that deletes and writes anew, or to a slip.
			wrong[name] = wasThere(name)
		}
	}
	err = s.assemble(&next, tree.Set(next.id), func(key string) string { return found.where(s.Store, key) }, wrong)
	return next, err
}

// assemble makes the configuration of a sight. What is wrong with a secret's
// parameter is the mistake of who refers to it.
func (s *Source) assemble(next *sight, whole string, name func(string) string, wrong map[string]error) error {
	next.files = map[string]string{}
	env := s.Env
	env.Parameter = resolver(s.Store.Tree, next.secrets, wrong)
	env.ReadFile = func(name string) ([]byte, error) {
		if s.Env.ReadFile == nil {
			return nil, fs.ErrNotExist
		}
		text, err := s.Env.ReadFile(name)
		next.files[name] = string(text)
		return text, err
	}
	cfg, err := set.Assemble(whole, name, next.parts, env)
	next.config = cfg
	return err
}

// resolver gives the values of ssm: references from what was read.
func resolver(tree set.Tree, values map[string]Value, wrong map[string]error) func(string) (string, error) {
	return func(name string) (string, error) {
		full := tree.Secret(name)
		if err := wrong[full]; err != nil {
			return "", err
		}
		value, ok := values[full]
		if !ok || value == (Value{}) {
			return "", missing(full)
		}
		return value.Text, nil
	}
}

// where is the parameter that holds a part of the set.
func (f *Set) where(s *Store, key string) string {
	for _, place := range f.places {
		if place.Key == key {
			return s.name(place)
		}
	}
	return s.Tree.Part(f.ID, key)
}

// Config makes the configuration of parts as a gate would, secrets included, for
// whoever is about to push them. where names a part by its key; nil is the name that
// it would get.
func (s *Store) Config(ctx context.Context, parts []set.Part, env config.Env, where func(key string) string) (*config.Config, error) {
	if where == nil {
		where = func(key string) string { return s.Tree.Sets() + "/…/doc/" + key }
	}
	return s.config(ctx, s.Tree.Sets(), parts, env, where)
}

// ConfigOf makes the configuration of a set that was read.
func (s *Store) ConfigOf(ctx context.Context, f *Set, env config.Env) (*config.Config, error) {
	return s.config(ctx, s.Tree.Set(f.ID), f.Parts, env, f.Where(s))
}

func (s *Store) config(ctx context.Context, whole string, parts []set.Part, env config.Env, where func(key string) string) (*config.Config, error) {
	names := set.Parameters(parts, env)
	for i, name := range names {
		names[i] = s.Tree.Secret(name)
	}
	slices.Sort(names)
	values, wrong := s.get(ctx, slices.Compact(names), true)
	env.Parameter = resolver(s.Tree, values, wrong)
	return set.Assemble(whole, where, parts, env)
}

// Where names the parameters of a set that was read.
func (f *Set) Where(s *Store) func(key string) string {
	return func(key string) string { return f.where(s, key) }
}
