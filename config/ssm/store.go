package ssm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
)

// The sizes of values. Parameters of the advanced tier cost money.
const (
	Standard = 4 << 10
	Advanced = 8 << 10
)

// batch is how many parameters one call may name.
const batch = 10

// Store is one environment's tree in Parameter Store.
type Store struct {
	Tree     set.Tree
	Client   *ssm.Client
	Identity *sts.Client // who changes something; nil is the user of this machine
	Limit    int         // largest value, in bytes: Standard (0) or Advanced
}

// State is the pointer as it was read.
type State struct {
	set.Pointer
	Version int64 // of the parameter; 0 if there is none yet
}

// ErrNothing says that an environment has no set in force.
var ErrNothing = errors.New("no set is in force yet: postern config push puts one there")

// Active reads the pointer. ErrNothing says that there is none.
func (s *Store) Active(ctx context.Context) (State, error) {
	name := s.Tree.Active()
	got, err := s.Client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
	if _, none := errors.AsType[*types.ParameterNotFound](err); none {
		return State{}, fmt.Errorf("%s: %w", name, ErrNothing)
	}
	if err != nil {
		return State{}, explain(name, err)
	}
	state := State{Version: got.Parameter.Version}
	if err := set.Decode(name, aws.ToString(got.Parameter.Value), &state.Pointer); err != nil {
		return State{}, err
	}
	if set.Number(state.Set) == 0 {
		return State{}, fmt.Errorf("%s: %w: it names no set", name, set.ErrForm)
	}
	return state, nil
}

// Set is one set as it lies in the store.
type Set struct {
	ID     string
	Meta   set.Meta
	Parts  []set.Part
	places []set.Place
}

// Read reads a set. known gives the text of a place whose text is known from before,
// and may be nil; what is known is not read again unless the set holds it itself.
func (s *Store) Read(ctx context.Context, id string, known func(set.Place) (string, bool)) (*Set, error) {
	own, err := s.below(ctx, s.Tree.Set(id))
	if err != nil {
		return nil, err
	}
	metaName := s.Tree.Meta(id)
	if own[metaName] == "" {
		return nil, config.Problems{{File: s.Tree.Set(id), Message: "there is no such set, or it was not finished: " + metaName + " is missing"}}
	}
	found := &Set{ID: id}
	if err := set.Decode(metaName, own[metaName], &found.Meta); err != nil {
		return nil, err
	}
	if found.places, err = s.index(id, found.Meta, own); err != nil {
		return nil, err
	}
	texts, err := s.texts(ctx, id, found.places, own, known)
	if err != nil {
		return nil, err
	}
	return found, s.fill(found, own, texts)
}

// index reads the index of a set.
func (s *Store) index(id string, meta set.Meta, own map[string]string) ([]set.Place, error) {
	texts := make([]string, 0, min(meta.Indexes, len(own)))
	for i := range min(meta.Indexes, len(own)) {
		texts = append(texts, own[s.indexName(id, i)])
	}
	if set.HashIndex(texts) != meta.Index {
		return nil, config.Problems{{File: s.indexName(id, 0), Message: "the index is not whole, or was changed by hand: sets are not changed, push a new one"}}
	}
	places, err := set.ParseIndex(texts)
	if err != nil {
		return nil, config.Problems{{File: s.indexName(id, 0), Message: err.Error()}}
	}
	return places, nil
}

func (s *Store) indexName(id string, i int) string {
	return fmt.Sprintf("%s/index/%03d", s.Tree.Set(id), i)
}

// name is the parameter that a place is.
func (s *Store) name(p set.Place) string { return s.Tree.Part(p.Set, p.Key) }

// texts are the values of a set's parts, by parameter.
func (s *Store) texts(ctx context.Context, id string, places []set.Place, own map[string]string, known func(set.Place) (string, bool)) (map[string]string, error) {
	texts, elsewhere := map[string]string{}, []string{}
	for _, place := range places {
		name := s.name(place)
		if text, ok := own[name]; ok {
			texts[name] = text
			continue
		}
		if known != nil && place.Set != id {
			if text, ok := known(place); ok {
				texts[name] = text
				continue
			}
		}
		elsewhere = append(elsewhere, name)
	}
	values, wrong := s.get(ctx, elsewhere, false)
	for _, name := range elsewhere {
		if err := wrong[name]; err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if value, ok := values[name]; ok {
			texts[name] = value.Text
		}
	}
	return texts, nil
}

// fill holds the texts to the index, and names everything that does not agree.
func (s *Store) fill(found *Set, own, texts map[string]string) error {
	var problems config.Problems
	listed := map[string]bool{}
	for _, place := range found.places {
		name := s.name(place)
		listed[name] = true
		p, err := set.FromKey(place.Key)
		if err != nil {
			return config.Problems{{File: name, Message: err.Error()}}
		}
		text, there := texts[name]
		p.Text = text
		switch {
		case !there:
			problems = append(problems, config.Problem{File: name, Path: p.Path(), Message: "the parameter is missing, and the set needs it"})
		case p.Hash() != place.Hash:
			problems = append(problems, config.Problem{File: name, Path: p.Path(), Message: "the parameter was changed by hand" + s.alsoInvalid(name, p) + ": sets are not changed, push a new one"})
		}
		found.Parts = append(found.Parts, p)
	}
	for name := range own {
		if strings.HasPrefix(name, s.Tree.Part(found.ID, "")) && !listed[name] {
			problems = append(problems, config.Problem{File: name, Message: "the parameter was added by hand: sets are not changed, push a new one"})
		}
	}
	if len(problems) > 0 {
		slices.SortFunc(problems, func(a, b config.Problem) int { return strings.Compare(a.File, b.File) })
		return problems
	}
	return nil
}

// alsoInvalid says when a text that was changed by hand is no YAML either.
func (s *Store) alsoInvalid(name string, p set.Part) string {
	_, err := set.Assemble(name, func(string) string { return name }, []set.Part{p}, config.Env{})
	problems, _ := errors.AsType[config.Problems](err)
	for _, problem := range problems {
		if problem.File == name && strings.HasPrefix(problem.Message, "is not YAML") {
			return " and " + problem.Message
		}
	}
	return ""
}

// below reads every parameter below a folder, decrypted, by name. The store gives
// them in pages of ten.
func (s *Store) below(ctx context.Context, folder string) (map[string]string, error) {
	values := map[string]string{}
	pages := ssm.NewGetParametersByPathPaginator(s.Client, &ssm.GetParametersByPathInput{
		Path: &folder, Recursive: aws.Bool(true), WithDecryption: aws.Bool(true), MaxResults: aws.Int32(batch),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, explain(folder, err)
		}
		for _, p := range page.Parameters {
			values[aws.ToString(p.Name)] = aws.ToString(p.Value)
		}
	}
	return values, nil
}

// Value is a parameter's value and how often it was written.
type Value struct {
	Text    string // not decrypted unless that was asked for
	Version int64
}

// get reads parameters by name. Where a call for ten is refused, because of one of
// them, each is asked for alone, so that wrong says which: only that one is without a
// value then. What does not exist is an fs.ErrNotExist.
func (s *Store) get(ctx context.Context, names []string, decrypted bool) (values map[string]Value, wrong map[string]error) {
	values, wrong = map[string]Value{}, map[string]error{}
	for some := range slices.Chunk(names, batch) {
		got, err := s.Client.GetParameters(ctx, &ssm.GetParametersInput{Names: some, WithDecryption: aws.Bool(decrypted)})
		if err == nil {
			for _, p := range got.Parameters {
				values[aws.ToString(p.Name)] = Value{aws.ToString(p.Value), p.Version}
			}
			for _, name := range some {
				if _, ok := values[name]; !ok {
					wrong[name] = missing(name)
				}
			}
			continue
		}
		if !refused(err) { // nobody answers: the rest need not be asked for
			blame(names, err, values, wrong)
			break
		}
		blame(some, err, values, wrong)
		if !throttled(wrong[some[0]]) && len(some) > 1 {
			s.alone(ctx, some, decrypted, values, wrong)
		}
	}
	return values, wrong
}

// blame gives an error to all names that have no value and no error of their own.
func blame(names []string, err error, values map[string]Value, wrong map[string]error) {
	for _, name := range names {
		if _, ok := values[name]; !ok && wrong[name] == nil {
			wrong[name] = explain(name, err)
		}
	}
}

// alone asks for parameters one by one.
func (s *Store) alone(ctx context.Context, names []string, decrypted bool, values map[string]Value, wrong map[string]error) {
	for _, name := range names {
		got, err := s.Client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(decrypted)})
		if err != nil {
			wrong[name] = explain(name, err)
			continue
		}
		delete(wrong, name)
		values[name] = Value{aws.ToString(got.Parameter.Value), got.Parameter.Version}
	}
}
