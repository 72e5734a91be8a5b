package ssm

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
)

// writeAttempts is how often a write is tried: forty parameters at three a second
// are throttled many times.
const writeAttempts = 12

// Draft is a set that somebody wants in force, or an older one again.
type Draft struct {
	Kind    string // push, rollback or traffic
	Parts   []set.Part
	Set     string // instead of Parts: a set that is there already
	Version string // config.Config.Version of the parts
	Base    string // "ENV SET" that they were laid over, if any
	What    string // the change, in a line
	Author  Author
	Now     time.Time

	// TakeOver goes on where somebody else began to change something and did not
	// come to an end.
	TakeOver bool
}

// ConflictError says that somebody else changed what is in force at the same time.
type ConflictError struct {
	Tree       set.Tree
	Other      set.Record // what they do; zero if it is not known
	Unfinished bool       // they began, and their set is not in force yet
}

// Error says who it is and what to do.
func (c *ConflictError) Error() string {
	who := "somebody else"
	if c.Other.By != "" {
		who = fmt.Sprintf("%s on %s (%s of %s: %s)", c.Other.By, c.Other.Host, c.Other.Kind, c.Other.Set, c.Other.What)
	}
	if c.Unfinished {
		return fmt.Sprintf("%s: a change by %s has begun and is not finished: wait a moment, or add --take-over if it was broken off", c.Tree.Active(), who)
	}
	return fmt.Sprintf("%s: was changed at the same time by %s: nothing of yours is in force; look at theirs, then try again", c.Tree.Active(), who)
}

// Check says what of the parts Parameter Store would refuse, all of it. What old has
// too is not written, and not judged. old may be nil.
func (s *Store) Check(parts []set.Part, old *Set) error {
	var problems config.Problems
	for _, change := range set.Diff(old.parts(), parts) {
		p := change.Part
		limit := s.limit(change)
		problem := config.Problem{File: s.Tree.Sets() + "/…/doc/" + p.Key(), Path: p.Path()}
		switch {
		case change.Kind == "removed":
			continue
		case len(p.Text) > limit && limit == Standard && len(p.Text) <= Advanced:
			problem.Message = fmt.Sprintf("has %d bytes, and a parameter takes %d: make it smaller, or add --tier advanced, which takes %d and costs money", len(p.Text), limit, Advanced)
		case len(p.Text) > limit:
			problem.Message = fmt.Sprintf("has %d bytes, and a parameter takes at most %d: make it smaller", len(p.Text), limit)
		case strings.Contains(p.Text, "{{"):
			problem.Message = "has {{ in it, which Parameter Store does not take"
		case len(s.Tree.Part(set.ID(1, "000000"), p.Key())) > 1000:
			problem.Message = "its name is too long for a parameter"
		default:
			continue
		}
		problems = append(problems, problem)
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// limit is how long a part may be. One that is longer than Standard already goes on
// in its tier: somebody decided that.
func (s *Store) limit(c set.Change) int {
	if s.Limit == Advanced || len(c.Before) > Standard {
		return Advanced
	}
	return Standard
}

// parts are those of a set that may be none.
func (f *Set) parts() []set.Part {
	if f == nil {
		return nil
	}
	return f.Parts
}

// Put puts a draft in force: it writes the set, unless that is there, reads it back,
// records the change and moves the pointer from where the caller saw it. before is
// that sight, with Version 0 where there was none; old its set, or nil. A ConflictError
// changed nothing.
func (s *Store) Put(ctx context.Context, before State, old *Set, d Draft) (set.Record, error) {
	record := set.Record{
		Postern: set.Format, Kind: d.Kind, Set: d.Set, From: before.Set,
		By: d.Author.By, Host: d.Author.Host, At: d.Now.UTC().Truncate(time.Second), What: d.What,
	}
	pointer := set.Pointer{Postern: set.Format, Last: before.Last}
	if d.Set == "" {
		if err := s.Check(d.Parts, old); err != nil {
			return set.Record{}, err
		}
		random := make([]byte, 3)
		_, _ = rand.Read(random) // cannot fail
		pointer.Last++
		record.Set = set.ID(pointer.Last, hex.EncodeToString(random))
		if err := s.write(ctx, record.Set, old, d); err != nil {
			s.discard(ctx, record.Set)
			return set.Record{}, err
		}
	}
	pointer.Set = record.Set
	if err := s.force(ctx, before, &record, pointer, d); err != nil {
		if _, sure := errors.AsType[*ConflictError](err); sure && d.Set == "" {
			s.discard(ctx, record.Set)
		}
		return set.Record{}, err
	}
	pointer.Change = record.Change
	return record, s.prune(ctx, pointer)
}

// force claims the next change and moves the pointer. Only a ConflictError says for sure
// that nothing of ours is in force.
func (s *Store) force(ctx context.Context, before State, record *set.Record, pointer set.Pointer, d Draft) error {
	var err error
	if pointer.Change, err = s.claim(ctx, before, record, d.TakeOver); err != nil {
		return err
	}
	// From the record on nobody takes the set away. Until then one that is older than
	// the history may have gone, after it was looked at.
	if d.Set != "" {
		if _, err := s.Read(ctx, d.Set, nil); err != nil {
			return errors.Join(err, s.remove(ctx, []string{s.Tree.Change(record.Change)}))
		}
	}
	err = s.move(ctx, before, pointer)
	if _, lost := errors.AsType[*ConflictError](err); lost {
		return errors.Join(err, s.remove(ctx, []string{s.Tree.Change(record.Change)}))
	}
	if err == nil {
		return nil
	}
	// The answer was lost, perhaps, and not the request.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), oneAttempt)
	defer cancel()
	now, readErr := s.Active(within)
	switch {
	case readErr != nil:
		return fmt.Errorf("whether the change is in force is not known (postern config show says so once Parameter Store answers): %w", err)
	case now.Pointer == pointer:
		return nil
	case now.Version == before.Version:
		return errors.Join(err, s.remove(within, []string{s.Tree.Change(record.Change)}))
	default:
		return err
	}
}

// write writes a set and reads it back. Parts that old has with the same text stay
// where they are.
func (s *Store) write(ctx context.Context, id string, old *Set, d Draft) error {
	known := map[string]set.Place{}
	meta := set.Meta{Postern: set.Format, Version: d.Version, Base: d.Base}
	if old != nil {
		meta.Parent = old.ID
		for _, place := range old.places {
			known[place.Key+" "+place.Hash] = place
		}
	}
	places := make([]set.Place, 0, len(d.Parts))
	for _, p := range d.Parts {
		place, there := known[p.Key()+" "+p.Hash()]
		if !there {
			place = set.Place{Key: p.Key(), Hash: p.Hash(), Set: id}
			if err := s.create(ctx, s.name(place), p.Text); err != nil {
				return err
			}
		}
		places = append(places, place)
	}
	texts := set.Index(places, Standard)
	for i, text := range texts {
		if err := s.create(ctx, s.indexName(id, i), text); err != nil {
			return err
		}
	}
	meta.Indexes, meta.Index = len(texts), set.HashIndex(texts)
	value, err := set.Encode(meta)
	if err != nil {
		return err
	}
	if err := s.create(ctx, s.Tree.Meta(id), value); err != nil {
		return err
	}
	back, err := s.Read(ctx, id, nil)
	if err != nil {
		return fmt.Errorf("the set was written and cannot be read back: %w", err)
	}
	if changes := set.Diff(d.Parts, back.Parts); len(changes) > 0 {
		return fmt.Errorf("the set was written and reads back otherwise: %s", set.Summary(changes, 200))
	}
	return nil
}

// create writes a parameter that must not be there. One that is there with this very
// value was written by a try of ours whose answer was lost.
func (s *Store) create(ctx context.Context, name, value string) error {
	_, err := s.put(ctx, name, value, false)
	if _, exists := errors.AsType[*types.ParameterAlreadyExists](err); exists {
		got, readErr := s.Client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
		if readErr == nil && aws.ToString(got.Parameter.Value) == value {
			return nil
		}
		return errExists
	}
	return explain(name, err)
}

var errExists = errors.New("the parameter exists already")

func (s *Store) put(ctx context.Context, name, value string, overwrite bool) (version int64, err error) {
	tier := types.ParameterTierStandard
	if len(value) > Standard {
		tier = types.ParameterTierAdvanced
	}
	out, err := s.Client.PutParameter(ctx, &ssm.PutParameterInput{
		Name: &name, Value: &value, Type: types.ParameterTypeString, Overwrite: &overwrite, Tier: tier,
	}, func(o *ssm.Options) { o.RetryMaxAttempts = writeAttempts })
	if err != nil {
		return 0, err
	}
	return out.Version, nil
}

// claim writes the record of a change under the next number. That is the lock: the
// store has no compare-and-swap, but it creates a parameter only once, so that of two
// changes which start from one state the second is told here, before anything of its
// own is in force.
func (s *Store) claim(ctx context.Context, before State, record *set.Record, takeOver bool) (int, error) {
	for number := before.Change + 1; ; number++ {
		record.Change = number
		value, err := set.Encode(record)
		if err != nil {
			return 0, err
		}
		err = s.create(ctx, s.Tree.Change(number), value)
		if err == nil || !errors.Is(err, errExists) {
			return number, err
		}
		now, err := s.Active(ctx)
		if err != nil && !errors.Is(err, ErrNothing) {
			return 0, err
		}
		conflict := &ConflictError{Tree: s.Tree, Unfinished: now.Version == before.Version}
		conflict.Other, _ = s.record(ctx, number) // it only makes the message better
		if !conflict.Unfinished || !takeOver {
			return 0, conflict
		}
	}
}

func (s *Store) record(ctx context.Context, number int) (set.Record, error) {
	var r set.Record
	name := s.Tree.Change(number)
	got, err := s.Client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
	if err != nil {
		return r, explain(name, err)
	}
	return r, set.Decode(name, aws.ToString(got.Parameter.Value), &r)
}

// move moves the pointer. The claim keeps other Posterns away; who edits the pointer
// by other means, or goes on after somebody took over, is found by the parameter's
// version, and gets back what they wrote.
func (s *Store) move(ctx context.Context, before State, pointer set.Pointer) error {
	name := s.Tree.Active()
	value, err := set.Encode(pointer)
	if err != nil {
		return err
	}
	if before.Version == 0 {
		err := s.create(ctx, name, value)
		if errors.Is(err, errExists) {
			return &ConflictError{Tree: s.Tree}
		}
		return err
	}
	version, err := s.put(ctx, name, value, true)
	if err != nil {
		return explain(name, err)
	}
	for range 5 {
		if version == before.Version+1 {
			return nil
		}
		theirs, err := s.versionOf(ctx, name, version-1)
		if err != nil {
			return fmt.Errorf("somebody else wrote the pointer at the same time, and what they wrote cannot be restored: %w", err)
		}
		if theirs == value { // a try of our own whose answer was lost
			version--
			continue
		}
		restored, err := s.put(ctx, name, theirs, true)
		if err != nil {
			return fmt.Errorf("somebody else wrote the pointer at the same time, and what they wrote cannot be restored: %w", explain(name, err))
		}
		if restored == version+1 {
			return &ConflictError{Tree: s.Tree}
		}
		version, value, before.Version = restored, theirs, version
	}
	return &ConflictError{Tree: s.Tree}
}

// versionOf is what the pointer was at a version.
func (s *Store) versionOf(ctx context.Context, name string, version int64) (string, error) {
	selected := fmt.Sprintf("%s:%d", name, version)
	got, err := s.Client.GetParameter(ctx, &ssm.GetParameterInput{Name: &selected})
	if err != nil {
		return "", explain(selected, err)
	}
	return aws.ToString(got.Parameter.Value), nil
}

// discard takes away what was written of a set that did not come in force.
func (s *Store) discard(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), oneAttempt)
	defer cancel()
	if own, err := s.below(ctx, s.Tree.Set(id)); err == nil {
		_ = s.remove(ctx, slices.Collect(maps.Keys(own))) // else the next sweep finds it
	}
}

// remove deletes parameters; those that are not there are no mistake.
func (s *Store) remove(ctx context.Context, names []string) error {
	slices.Sort(names)
	for some := range slices.Chunk(names, batch) {
		_, err := s.Client.DeleteParameters(ctx, &ssm.DeleteParametersInput{Names: some}, func(o *ssm.Options) { o.RetryMaxAttempts = writeAttempts })
		if err != nil {
			return explain(some[0], err)
		}
	}
	return nil
}
