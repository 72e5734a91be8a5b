package ssm_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
	"github.com/postern-proxy/postern/config/ssm"
	"github.com/postern-proxy/postern/test/fake/aws"
)

func TestAPushIsASetAndAPointer(t *testing.T) {
	h := newHouse(t)
	_, err := h.store.Active(t.Context())
	require.ErrorIs(t, err, ssm.ErrNothing)

	first := h.push(many(40))
	assert.Equal(t, 1, first.Change)
	state, found := h.state()
	assert.Equal(t, first.Set, state.Set)
	assert.Equal(t, int64(1), state.Version)
	assert.Empty(t, set.Diff(parts(t, many(40)), found.Parts))

	// One model changes: one parameter of the document, whatever its size.
	changed := strings.Replace(many(40), "m7: {route: [[{provider: demo}]]}", "m7: {route: [[{provider: demo, weight: 5}]]}", 1)
	second := h.push(changed)
	assert.ElementsMatch(t, []string{"doc/models/m7", "index/000", "meta"}, below(h, second.Set))
	_, found = h.state()
	assert.Empty(t, set.Diff(parts(t, changed), found.Parts))
	assert.Equal(t, first.Set, found.Meta.Parent)

	records, err := h.store.History(t.Context())
	require.NoError(t, err)
	require.Len(t, records, 2)
	assert.Equal(t, second, records[0])
	assert.Equal(t, "somebody", records[0].By)
	assert.Equal(t, first.Set, records[0].From)
}

func below(h *house, id string) []string {
	var names []string
	for _, name := range h.exists(h.store.Tree.Set(id)) {
		names = append(names, strings.TrimPrefix(name, h.store.Tree.Set(id)+"/"))
	}
	return names
}

func TestWhatParameterStoreWouldRefuseIsRefusedByName(t *testing.T) {
	h := newHouse(t)
	long := many(2) + "  long: {system: \"" + strings.Repeat("x", 5000) + "\", route: [[{provider: demo}]]}\n" +
		"  braces: {system: \"{{name}}\", route: [[{provider: demo}]]}\n"
	_, err := h.try(long)
	require.ErrorContains(t, err, "doc/models/long: models.long: has 50")
	require.ErrorContains(t, err, "--tier advanced")
	odd := parts(t, long)
	for i := range odd {
		odd[i].Text = strings.ReplaceAll(odd[i].Text, `{\x7b`, "{{") // not as Split writes it
	}
	require.ErrorContains(t, h.store.Check(odd, nil), "doc/models/braces: models.braces: has {{ in it")
	assert.Empty(t, h.exists("/postern/"+h.store.Tree.Environment), "nothing was written")

	h.store.Limit = ssm.Advanced
	h.push(long)
	_, found := h.state()
	c, err := h.store.Config(t.Context(), found.Parts, config.Environment("."), found.Where(h.store))
	require.NoError(t, err)
	assert.Equal(t, "{{name}}", c.Models["braces"].System)

	// What is there is not judged again, and what is long goes on in its tier.
	h.store.Limit = ssm.Standard
	h.push(strings.Replace(long, "m0: {route: [[{provider: demo}]]}", "m0: {route: [[{provider: demo, weight: 2}]]}", 1))
	h.push(strings.Replace(long, "xxx", "yyyy", 1))
	_, err = h.try(strings.Replace(long, "xxx", strings.Repeat("y", 5000), 1))
	require.ErrorContains(t, err, "a parameter takes at most 8192")
	_, err = h.try(strings.Replace(long, "  long:", "  longer:", 1))
	require.ErrorContains(t, err, "doc/models/longer: models.longer: has 50")
}

// Whoever starts from what another has changed meanwhile is told so, and nothing of
// theirs is left.
func TestOfTwoPushesOneIsInForce(t *testing.T) {
	h := newHouse(t)
	h.push(limited("1/s"))
	for round := range 5 {
		state, old := h.state()
		var wait sync.WaitGroup
		results := make([]error, 4)
		for i := range results {
			wait.Go(func() {
				_, results[i] = h.store.Put(t.Context(), state, old, draft(parts(t, limited(fmt.Sprintf("%d/m", 10*round+i+1)))))
			})
		}
		wait.Wait()
		winners := 0
		for i, err := range results {
			if err == nil {
				winners++
				_, found := h.state()
				assert.Empty(t, set.Diff(parts(t, limited(fmt.Sprintf("%d/m", 10*round+i+1))), found.Parts))
				continue
			}
			var conflict *ssm.ConflictError
			require.ErrorAs(t, err, &conflict)
			assert.Contains(t, err.Error(), h.store.Tree.Active())
			assert.Contains(t, err.Error(), "somebody on here")
		}
		assert.Equal(t, 1, winners)
	}
	metas := 0
	for _, name := range h.exists(h.store.Tree.Sets()) {
		if strings.HasSuffix(name, "/meta") {
			metas++
		}
	}
	assert.Equal(t, 6, metas, "the losers' sets are gone")
	records, err := h.store.History(t.Context())
	require.NoError(t, err)
	assert.Len(t, records, 6)
}

// The pointer can be edited by other means, past every claim. They get back what they
// wrote.
func TestAnEditedPointerIsRestored(t *testing.T) {
	h := newHouse(t)
	first := h.push(limited("1/s"))
	state, old := h.state()
	theirs := fmt.Sprintf(`{"postern":1,"set":%q,"change":1,"last":1,"note":"by hand"}`, first.Set)
	h.aws.Fail(aws.Fault{Kind: aws.Slow, Operation: "PutParameter", Parameter: h.store.Tree.Active() + `"`, Times: 1, Hook: func() {
		h.put(h.store.Tree.Active(), theirs, types.ParameterTypeString)
	}})
	_, err := h.store.Put(t.Context(), state, old, draft(parts(t, limited("2/s"))))
	var conflict *ssm.ConflictError
	require.ErrorAs(t, err, &conflict)
	state, found := h.state()
	assert.Equal(t, first.Set, state.Set)
	assert.Empty(t, set.Diff(parts(t, limited("1/s")), found.Parts))
	h.push(limited("3/s"))
}

// A pointer that was moved by hand, even to a set that is not there, is gone back from
// as from any other.
func TestGoingBackFromAPointerMovedByHand(t *testing.T) {
	h := newHouse(t)
	first := h.push(limited("1/s"))
	second := h.push(limited("2/s"))
	for pointed, want := range map[string]string{"000009-abcdef": second.Set, first.Set: "none"} {
		h.put(h.store.Tree.Active(), fmt.Sprintf(`{"postern":1,"set":%q,"change":2,"last":9}`, pointed), types.ParameterTypeString)
		state, err := h.store.Active(t.Context())
		require.NoError(t, err)
		id, err := h.store.Previous(t.Context(), state)
		if want == "none" {
			require.ErrorContains(t, err, "no older set")
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, want, id)
	}
}

// A pusher that dies between its record and the pointer does not lock the rest out.
func TestAnUnfinishedChangeCanBeTakenOver(t *testing.T) {
	h := newHouse(t)
	h.push(limited("1/s"))
	state, old := h.state()
	h.put(h.store.Tree.Change(2), `{"postern":1,"change":2,"kind":"push","set":"000002-abcdef","by":"ghost","host":"nowhere"}`, types.ParameterTypeString)
	d := draft(parts(t, limited("2/s")))
	_, err := h.store.Put(t.Context(), state, old, d)
	require.ErrorContains(t, err, "ghost on nowhere")
	require.ErrorContains(t, err, "--take-over")
	d.TakeOver = true
	record, err := h.store.Put(t.Context(), state, old, d)
	require.NoError(t, err)
	assert.Equal(t, 3, record.Change)
	state, _ = h.state()
	id, err := h.store.Previous(t.Context(), state)
	require.NoError(t, err)
	assert.Equal(t, record.From, id, "what was never in force is nothing to go back to")
	h.push(limited("3/s"))
}

// Answers that get lost, throttling and short outages are no failures of a push.
func TestAPushSurvivesABadLine(t *testing.T) {
	h := newHouse(t)
	h.push(limited("1/s"))
	for name, fault := range map[string]aws.Fault{
		"lost answers":      {Kind: aws.Lose, Operation: "PutParameter", Times: 1},
		"lost pointer":      {Kind: aws.Lose, Operation: "PutParameter", Parameter: "/active", Times: 2},
		"lost claim":        {Kind: aws.Lose, Operation: "PutParameter", Parameter: "/history/", Times: 2},
		"throttled":         {Kind: aws.Throttle, Times: 10, Operation: "PutParameter"},
		"throttled reading": {Kind: aws.Throttle, Times: 2, Operation: "GetParametersByPath"},
		"broken":            {Kind: aws.Break, Times: 2},
		"cut":               {Kind: aws.Cut, Times: 2},
	} {
		t.Run(name, func(t *testing.T) {
			state, old := h.state()
			h.aws.Fail(fault)
			record, err := h.store.Put(t.Context(), state, old, draft(parts(t, limited(fmt.Sprintf("%d/h", state.Change+1)))))
			h.aws.Clear()
			require.NoError(t, err)
			now, _ := h.state()
			assert.Equal(t, record.Set, now.Set)
			assert.Equal(t, state.Change+1, now.Change)
		})
	}
}

// A push that cannot be finished changes nothing that is in force.
func TestAFailedPushChangesNothing(t *testing.T) {
	for name, fault := range map[string]aws.Fault{
		"denied":            {Kind: aws.Deny, Operation: "PutParameter"},
		"denied half-way":   {Kind: aws.Deny, Operation: "PutParameter", Parameter: "/index/"},
		"denied at the end": {Kind: aws.Deny, Operation: "PutParameter", Parameter: "/active"},
		"cut half-way":      {Kind: aws.Cut, Operation: "PutParameter", Parameter: "/meta"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			first := h.push(limited("1/s"))
			h.aws.Fail(fault)
			_, err := h.try(limited("2/s"))
			h.aws.Clear()
			require.Error(t, err)
			assert.Contains(t, err.Error(), "/postern/"+h.store.Tree.Environment+"/")
			state, _ := h.state()
			assert.Equal(t, first.Set, state.Set)
			h.push(limited("3/s"))
		})
	}
}

// Going back follows what was in force, not the numbers: see TestGoingBack too.
func TestARollbackIsAChangeOfItsOwn(t *testing.T) {
	h := newHouse(t)
	sets := map[string]string{}
	for _, step := range []string{"push 1", "push 2", "push 3", "back 2", "push 4", "back 2", "back 1"} {
		verb, which, _ := strings.Cut(step, " ")
		if verb == "push" {
			sets[which] = h.push(limited(which + "/s")).Set
			continue
		}
		state, _ := h.state()
		id, err := h.store.Previous(t.Context(), state)
		require.NoError(t, err, step)
		require.Equal(t, sets[which], id, step)
		record, err := h.store.Put(t.Context(), state, nil, ssm.Draft{Kind: "rollback", Set: id})
		require.NoError(t, err)
		assert.Equal(t, state.Set, record.From)
	}
	state, _ := h.state()
	_, err := h.store.Previous(t.Context(), state)
	require.ErrorContains(t, err, "no older set")
}

func TestASetIsFoundByItsNumber(t *testing.T) {
	h := newHouse(t)
	first := h.push(limited("1/s"))
	state, _ := h.state()
	second := h.push(limited("2/s"))
	id, err := h.store.Find(t.Context(), "1")
	require.NoError(t, err)
	assert.Equal(t, first.Set, id)
	_, err = h.store.Find(t.Context(), "77")
	require.Error(t, err)
	state.Version++
	state.Change, state.Set, state.Last = second.Change, second.Set, 2
	_, err = h.store.Put(t.Context(), state, nil, ssm.Draft{Kind: "rollback", Set: first.Set})
	require.NoError(t, err)
	assert.Equal(t, 3, set.Number(h.push(limited("5/s")).Set), "a number is never used twice")
}

// A pointer that somebody removed or spoiled can be written again, and the numbers go
// on. A clock that runs behind changes the order of nothing.
func TestThePointerCanBeWrittenAnew(t *testing.T) {
	h := newHouse(t)
	for i := range 3 {
		h.push(limited(fmt.Sprintf("%d/s", i+1)))
	}
	for name, spoil := range map[string]func(){
		"removed": func() { h.remove(h.store.Tree.Active()) },
		"spoiled": func() { h.put(h.store.Tree.Active(), "what?", types.ParameterTypeString) },
	} {
		records, err := h.store.History(t.Context())
		require.NoError(t, err)
		spoil()
		state, err := h.store.Recover(t.Context())
		require.NoError(t, err, name)
		assert.Equal(t, records[0].Change, state.Change)
		id, err := h.store.Previous(t.Context(), state)
		require.NoError(t, err)
		assert.Equal(t, 3, set.Number(id), "the newest that was in force")
		record, err := h.store.Put(t.Context(), state, nil, ssm.Draft{Kind: "rollback", Set: id, Now: time.Now().Add(-48 * time.Hour)})
		require.NoError(t, err)
		assert.Equal(t, records[0].Change+1, record.Change)
		now, _ := h.state()
		assert.Equal(t, id, now.Set)
		records, err = h.store.History(t.Context())
		require.NoError(t, err)
		assert.Equal(t, record.Change, records[0].Change, "the newest, though its clock says otherwise")
	}
	assert.Equal(t, 4, set.Number(h.push(limited("9/s")).Set))
}

func TestOldSetsGo(t *testing.T) {
	h := newHouse(t)
	for i := range ssm.Kept + 20 {
		h.push(limited(fmt.Sprintf("%d/s", i+1)))
	}
	records, err := h.store.History(t.Context())
	require.NoError(t, err)
	require.Len(t, records, ssm.Kept)
	oldest, err := h.store.Read(t.Context(), records[ssm.Kept-1].Set, nil)
	require.NoError(t, err, "what the first set holds for all others is still there")
	assert.Equal(t, "21/s", strings.TrimSpace(strings.Trim(text(oldest, "tiers/default"), "{}\n")[len("requests: "):]))
	metas := 0
	for _, name := range h.exists(h.store.Tree.Sets()) {
		if strings.HasSuffix(name, "/meta") {
			metas++
		}
	}
	assert.Equal(t, ssm.Kept+1, metas, "and the one that the oldest record came from")
}

// Records that once could not be removed go with a later change, however many there are.
func TestOldRecordsGoAfterAll(t *testing.T) {
	h := newHouse(t)
	h.push(limited("1/s"))
	record := func(change int) {
		h.put(h.store.Tree.Change(change), fmt.Sprintf(`{"postern":1,"change":%d,"kind":"push","set":"000001-abcdef"}`, change), types.ParameterTypeString)
	}
	for _, change := range []int{1, 2, 50, 88, 109, 110} {
		record(change)
	}
	state, old := h.state()
	state.Change = 209 // the next is one that sweeps
	h.put(h.store.Tree.Active(), fmt.Sprintf(`{"postern":1,"set":%q,"change":209,"last":1}`, state.Set), types.ParameterTypeString)
	state.Version++
	_, err := h.store.Put(t.Context(), state, old, draft(parts(t, limited("2/s"))))
	require.NoError(t, err)
	assert.Len(t, h.exists(h.store.Tree.History()), 1, "only the change itself is younger than a hundred")
}

// A set that is older than the history is put in force only if it is still there once
// nobody takes it away any more.
func TestGoingBackToASetThatIsBeingTakenAway(t *testing.T) {
	h := newHouse(t)
	first := h.push(limited("1/s"))
	second := h.push(limited("2/s"))
	state, _ := h.state()
	h.aws.Fail(aws.Fault{Kind: aws.Slow, Operation: "PutParameter", Parameter: "/history/000003", Times: 1, Hook: func() {
		h.remove(h.store.Tree.Meta(first.Set))
	}})
	_, err := h.store.Put(t.Context(), state, nil, ssm.Draft{Kind: "rollback", Set: first.Set})
	require.ErrorContains(t, err, "there is no such set")
	now, _ := h.state()
	assert.Equal(t, second.Set, now.Set)
	assert.Equal(t, 3, h.push(limited("3/s")).Change, "its record is gone")
}

// What a newer Postern wrote does not keep this one from going back, and is not taken
// away by it.
func TestGoingBackFromWhatANewerPosternWrote(t *testing.T) {
	h := newHouse(t)
	first := h.push(limited("1/s"))
	h.put(h.store.Tree.Active(), `{"postern":2,"sets":["x"]}`, types.ParameterTypeString)
	h.put(h.store.Tree.Change(2), `{"postern":2,"who":"x"}`, types.ParameterTypeString)
	h.put(h.store.Tree.Meta("000007-abcdef"), `{"postern":2}`, types.ParameterTypeString)
	_, err := h.store.Active(t.Context())
	var newer set.NewerError
	require.ErrorAs(t, err, &newer)
	state, err := h.store.Recover(t.Context())
	require.NoError(t, err)
	id, err := h.store.Previous(t.Context(), state)
	require.NoError(t, err)
	assert.Equal(t, first.Set, id)
	record, err := h.store.Put(t.Context(), state, nil, ssm.Draft{Kind: "rollback", Set: id})
	require.NoError(t, err)
	assert.Equal(t, 3, record.Change)
	assert.Equal(t, 8, set.Number(h.push(limited("2/s")).Set), "its numbers are not used again")
	records, err := h.store.History(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "?", records[2].Kind)
	assert.Contains(t, records[2].What, h.store.Tree.Change(2)+": was written by a newer Postern")
}

func text(s *ssm.Set, key string) string {
	for _, p := range s.Parts {
		if p.Key() == key {
			return p.Text
		}
	}
	return ""
}
