package ssm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-proxy/postern/config/set"
)

// Kept is how many changes are remembered, with their sets.
const Kept = 100

// sweep is after how many changes the sets that no record names are taken away: to
// find them, all are listed.
const sweep = 10

// UnprunedError says that a change is in force, and that old ones could not be taken away.
type UnprunedError struct{ cause error }

// Error says that it is no failure of the change.
func (u *UnprunedError) Error() string {
	return "the change is in force, but old sets could not be removed: " + u.cause.Error()
}

// Unwrap is what kept them.
func (u *UnprunedError) Unwrap() error { return u.cause }

// prune takes away the records, and from time to time the sets, that are too old.
func (s *Store) prune(ctx context.Context, now set.Pointer) error {
	if now.Change <= Kept {
		return nil
	}
	var old []string
	for number := now.Change - Kept; number > 0 && number > now.Change-Kept-batch; number-- {
		old = append(old, s.Tree.Change(number))
	}
	err := s.remove(ctx, old)
	if err == nil && now.Change%sweep == 0 {
		err = s.sweep(ctx, now)
	}
	if err != nil {
		return &UnprunedError{err}
	}
	return nil
}

// sweep removes every record that is too old, whatever kept it, and every parameter that
// no set needs which a record names. Sets newer than the one in force belong to somebody
// who is writing them.
func (s *Store) sweep(ctx context.Context, now set.Pointer) error {
	records, err := s.History(ctx)
	if err != nil {
		return err
	}
	var old []string
	records = slices.DeleteFunc(records, func(r set.Record) bool {
		outdated := r.Change <= now.Change-Kept
		if outdated {
			old = append(old, s.Tree.Change(r.Change))
		}
		return outdated
	})
	if err := s.remove(ctx, old); err != nil {
		return err
	}
	if slices.ContainsFunc(records, func(r set.Record) bool { return r.Postern > set.Format }) {
		return nil // which sets those need only a newer Postern knows
	}
	all, err := s.below(ctx, s.Tree.Sets())
	if err != nil {
		return err
	}
	keep := map[string]bool{now.Set: true}
	for _, r := range records {
		keep[r.Set], keep[r.From] = true, true
	}
	needed, err := s.needed(keep, all)
	if err != nil {
		return err
	}
	var unneeded []string
	for name := range all {
		id, rest, _ := strings.Cut(strings.TrimPrefix(name, s.Tree.Sets()+"/"), "/")
		own := keep[id] && !strings.HasPrefix(rest, "doc/")
		older := set.Number(id) > 0 && set.Number(id) < set.Number(now.Set)
		if older && !own && !needed[name] {
			unneeded = append(unneeded, name)
		}
	}
	return s.removeUnclaimed(ctx, now, unneeded)
}

// removeUnclaimed removes parameters of sets for as long as nobody has begun a change
// after this one: it may put one of those sets in force again. The next sweep does it
// then.
func (s *Store) removeUnclaimed(ctx context.Context, now set.Pointer, names []string) error {
	slices.Sort(names)
	for some := range slices.Chunk(names, batch) {
		if _, err := s.record(ctx, now.Change+1); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := s.remove(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// needed are the parameters that hold the parts of some sets, by the indexes among
// all.
func (s *Store) needed(keep map[string]bool, all map[string]string) (map[string]bool, error) {
	needed := map[string]bool{}
	for id := range keep {
		var meta set.Meta
		if all[s.Tree.Meta(id)] == "" {
			continue // gone already, or "" of the first change
		}
		if err := set.Decode(s.Tree.Meta(id), all[s.Tree.Meta(id)], &meta); err != nil {
			return nil, err
		}
		places, err := s.index(id, meta, all)
		if err != nil {
			return nil, err
		}
		for _, place := range places {
			needed[s.name(place)] = true
		}
	}
	return needed, nil
}

// History are the changes that are remembered, the newest first. A record may be of
// a change that was begun and not finished: its number is above the pointer's, or its
// set is not there. Of a record that a newer Postern wrote, the number alone is known.
func (s *Store) History(ctx context.Context) ([]set.Record, error) {
	values, err := s.below(ctx, s.Tree.History())
	if err != nil {
		return nil, err
	}
	records := make([]set.Record, 0, len(values))
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(values))) {
		var r set.Record
		err := set.Decode(name, values[name], &r)
		if newer, ok := errors.AsType[set.NewerError](err); ok {
			number, _ := strconv.Atoi(path.Base(name))
			r, err = set.Record{Postern: newer.Format, Change: number, Kind: "?", What: newer.Error()}, nil
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// Recover is the state to start from where the pointer is gone or cannot be read, so that
// it can be written again: no set is in force, and the numbers go on from the history,
// and from the sets where that does not tell all of it.
func (s *Store) Recover(ctx context.Context) (State, error) {
	var state State
	name := s.Tree.Active()
	values, wrong := s.get(ctx, []string{name}, false)
	if err := wrong[name]; err != nil && !errors.Is(err, fs.ErrNotExist) {
		return state, err
	}
	state.Version = values[name].Version
	records, err := s.History(ctx)
	if err != nil {
		return state, err
	}
	newer := false
	for _, r := range records {
		state.Change = max(state.Change, r.Change)
		state.Last = max(state.Last, set.Number(r.Set))
		newer = newer || r.Postern > set.Format
	}
	if !newer {
		return state, nil
	}
	all, err := s.below(ctx, s.Tree.Sets())
	for name := range all {
		id, _, _ := strings.Cut(strings.TrimPrefix(name, s.Tree.Sets()+"/"), "/")
		state.Last = max(state.Last, set.Number(id))
	}
	return state, err
}

// Previous is the set to go back to: the one before the one in force in the line of
// sets. Where none is in force, it is the last that was.
func (s *Store) Previous(ctx context.Context, now State) (string, error) {
	records, err := s.History(ctx)
	if err != nil {
		return "", err
	}
	sets := line(records, now)
	if now.Set != "" && len(sets) > 0 {
		sets = sets[:len(sets)-1]
	}
	if len(sets) == 0 {
		return "", errors.New(s.Tree.Active() + ": there is no older set to go back to")
	}
	return sets[len(sets)-1], nil
}

// line is what going back walks along: the sets that were in force and were not left
// by going back, the newest last. A push adds its set to the line. A rollback to a set
// of the line cuts off what stands behind it, so that what somebody left as bad comes
// back only by its name; to any other set it adds that set. records are the newest
// first.
func line(records []set.Record, now State) []string {
	var sets []string
	visit := func(id string, older bool) {
		i := slices.Index(sets, id)
		switch {
		case id == "":
		case i >= 0:
			sets = sets[:i+1]
		case older && len(sets) > 0 && set.Number(id) < set.Number(sets[0]):
			sets = []string{id} // from before all that is remembered
		default:
			sets = append(sets, id)
		}
	}
	for _, r := range slices.Backward(records) {
		if r.Change > now.Change {
			continue // begun, not finished
		}
		// From says what the record before it does not: that its change was never in
		// force, or that somebody moved the pointer by other means.
		visit(r.From, false)
		visit(r.Set, r.Kind == "rollback")
	}
	visit(now.Set, false)
	return sets
}

// Find is the set that a person means by its ID, or by the number in it.
func (s *Store) Find(ctx context.Context, text string) (string, error) {
	if strings.Contains(text, "-") {
		return text, nil
	}
	records, err := s.History(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range records {
		if n := set.Number(text); n > 0 && set.Number(r.Set) == n {
			return r.Set, nil
		}
	}
	return "", fmt.Errorf("%s: no change put a set %q in force: postern config history lists them", s.Tree.Sets(), text)
}
