package usage

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: begun} }

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

func joiner(c *clock, pending int) *Joiner {
	return NewJoiner(JoinSettings{Now: c.Now, Pending: pending})
}

// req is a request that failed: each of its attempts has an entry.
func req(id string, tried int, after time.Duration) *Request {
	return &Request{
		ID: id, Tried: tried, Time: begun.Add(after), Duration: time.Second, Status: 502, Provider: "p", last: []Attempt{{}},
	}
}

// good is one whose last attempt did not fail, and so has no entry.
func good(id string, tried int) *Request {
	r := req(id, tried, 0)
	r.Status = 200
	r.last = []Attempt{{RequestID: id, Time: begun.Add(time.Second), Provider: "last", Status: 200}}
	return r
}

func att(id string, after time.Duration) Attempt {
	return Attempt{RequestID: id, Time: begun.Add(after), Provider: "p"}
}

// add gives the joiner one entry.
func add(j *Joiner, entry any) []*Request {
	switch e := entry.(type) {
	case *Request:
		copied := *e
		return j.AddRequests([]*Request{&copied})
	case Attempt:
		return j.AddAttempts([]Attempt{e})
	}
	panic("no entry")
}

func TestHalvesMeetInAnyOrder(t *testing.T) {
	entries := []any{req("a", 3, 0), att("a", time.Millisecond), att("a", 2*time.Millisecond), att("a", 3*time.Millisecond)}
	for first := range entries {
		for turn := range 2 {
			t.Run(fmt.Sprint(first, turn), func(t *testing.T) {
				j := joiner(newClock(), 0)
				order := append(append([]any{}, entries[first:]...), entries[:first]...)
				if turn == 1 { // and backwards
					for i := range 2 {
						order[i], order[3-i] = order[3-i], order[i]
					}
				}
				var done []*Request
				for i, entry := range order {
					got := add(j, entry)
					assert.Equal(t, i == len(order)-1, len(got) == 1, "complete with the last entry, not before")
					done = append(done, got...)
					assert.Empty(t, add(j, entry), "again")
				}
				require.Len(t, done, 1)
				assert.False(t, done[0].Partial)
				for i, a := range done[0].Attempts {
					assert.Equal(t, begun.Add(time.Duration(i+1)*time.Millisecond), a.Time)
				}
				assert.Equal(t, JoinStats{Requests: 1, Attempts: 3, Duplicates: 4}, j.Stats())
			})
		}
	}
}

func TestARequestWithoutAttemptsIsDoneAtOnce(t *testing.T) {
	j := joiner(newClock(), 0)
	assert.Len(t, add(j, req("a", 0, 0)), 1)
	assert.Len(t, add(j, req("", 2, 0)), 1, "without an id nothing can be found again")
	assert.Empty(t, add(j, att("", 0)))
	assert.Equal(t, JoinStats{Requests: 2, Attempts: 1, Partial: 1, Orphans: 1}, j.Stats())
}

func TestTheLastAttemptStandsInTheRequestsOwnEntry(t *testing.T) {
	t.Run("one attempt", func(t *testing.T) {
		done := add(joiner(newClock(), 0), good("a", 1))
		require.Len(t, done, 1)
		assert.False(t, done[0].Partial)
		assert.Equal(t, done[0].last, done[0].Attempts)
	})
	t.Run("after one that failed", func(t *testing.T) {
		j := joiner(newClock(), 0)
		assert.Empty(t, add(j, good("a", 2)))
		done := add(j, att("a", 0))
		require.Len(t, done, 1)
		assert.Equal(t, []string{"p", "last"}, []string{done[0].Attempts[0].Provider, done[0].Attempts[1].Provider})
	})
	t.Run("one that failed and whose entry is lost", func(t *testing.T) {
		c := newClock()
		j := joiner(c, 0)
		assert.Empty(t, add(j, req("a", 1, 0)))
		c.pass(time.Minute)
		done := j.Expire()
		require.Len(t, done, 1)
		assert.False(t, done[0].Partial)
		assert.Len(t, done[0].Attempts, 1)
	})
	t.Run("aborted", func(t *testing.T) {
		r := good("a", 1)
		r.Aborted, r.Flags, r.Status = true, "DC", 0
		require.Len(t, add(joiner(newClock(), 0), r), 1)
	})
}

func TestMissingHalvesAreGivenUp(t *testing.T) {
	c := newClock()
	j := joiner(c, 0)
	add(j, req("a", 3, 0))
	add(j, att("a", 0))
	add(j, att("lonely", 0))
	c.pass(9 * time.Second)
	assert.Empty(t, j.Expire())
	c.pass(time.Second)
	done := j.Expire()
	require.Len(t, done, 1)
	assert.True(t, done[0].Partial)
	assert.Len(t, done[0].Attempts, 1)
	assert.Equal(t, 1, j.Stats().Pending)
	c.pass(24 * time.Hour)
	assert.Empty(t, j.Expire())
	assert.Equal(t, 1, j.Stats().Pending, "a request may go on for a day")
	c.pass(time.Hour)
	assert.Empty(t, j.Expire())
	assert.Equal(t, JoinStats{Requests: 1, Attempts: 2, Partial: 1, Orphans: 1}, j.Stats())
	assert.Empty(t, j.waiting)
}

// What a request's own entry tells of its last attempt is not lost with another's entry.
func TestThePartialRequestKeepsItsLastAttempt(t *testing.T) {
	c := newClock()
	j := joiner(c, 0)
	add(j, good("a", 3))
	add(j, att("a", 0))
	c.pass(time.Minute)
	done := j.Expire()
	require.Len(t, done, 1)
	assert.True(t, done[0].Partial)
	require.Len(t, done[0].Attempts, 2)
	assert.Equal(t, "last", done[0].Attempts[1].Provider)
}

// Of a request that failed all attempts have entries, and its own tells of the last again:
// that is no further attempt.
func TestTheLastAttemptIsTakenOnce(t *testing.T) {
	failed := func(sent bool) *Request {
		r := req("a", 3, 0)
		r.FirstByte, r.sent = 900*time.Millisecond, sent
		r.last = []Attempt{{RequestID: "a", Time: begun.Add(800 * time.Millisecond), Provider: "p", Status: 502, Implied: true}}
		return r
	}
	first, last := att("a", 0), att("a", 790*time.Millisecond)
	first.Duration, last.Duration = 100*time.Millisecond, 110*time.Millisecond
	for _, sent := range []bool{true, false} {
		for name, test := range map[string]struct {
			came []Attempt
			want int
		}{"the last came": {[]Attempt{first, last}, 2}, "the last is lost": {[]Attempt{first}, 2}, "all are lost": {nil, 1}} {
			t.Run(fmt.Sprint(name, sent), func(t *testing.T) {
				c := newClock()
				j := joiner(c, 0)
				j.AddAttempts(test.came)
				assert.Empty(t, add(j, failed(sent)))
				c.pass(time.Minute)
				done := j.Expire()
				require.Len(t, done, 1)
				assert.True(t, done[0].Partial)
				require.Len(t, done[0].Attempts, test.want)
				assert.Equal(t, len(test.came) < 2, done[0].Attempts[test.want-1].Implied)
			})
		}
	}
}

// Envoy ended these itself: the attempt that went on has no entry, and nothing is waited
// for.
func TestARequestThatEnvoyEndedDoesNotWait(t *testing.T) {
	for details, status := range map[string]int{
		"response_timeout": 504, "stream_idle_timeout": 408, "no_healthy_upstream": 503,
		"ext_proc_error_gRPC_error_14": 503, "postern_invalid_request": 400, "request_overall_timeout": 408,
	} {
		r := req("a", 1, 0)
		r.Details, r.Status, r.Flags = details, status, "UT"
		done := add(joiner(newClock(), 0), r)
		require.Len(t, done, 1, details)
		assert.False(t, done[0].Partial, details)
		assert.Len(t, done[0].Attempts, 1, details)
	}
	t.Run("in the middle of a stream", func(t *testing.T) {
		r := good("a", 1)
		r.Details, r.Flags = "response_timeout", "UT"
		require.Len(t, add(joiner(newClock(), 0), r), 1)
	})
	t.Run("between two attempts", func(t *testing.T) {
		j := joiner(newClock(), 0)
		assert.Empty(t, add(j, att("a", 0)))
		r := req("a", 1, 0)
		r.Details, r.Status = "response_timeout", 504
		done := add(j, r)
		require.Len(t, done, 1)
		assert.Len(t, done[0].Attempts, 1)
		assert.False(t, done[0].Attempts[0].Implied)
		assert.Zero(t, j.Stats().Pending)
	})
}

// An id is the client's: what has the same is told apart by the connection, and on one
// connection nobody takes what he does not need.
func TestAnIDOfSeveralClients(t *testing.T) {
	t.Run("each on a connection", func(t *testing.T) {
		j := joiner(newClock(), 0)
		mine, theirs := req("same", 1, 0), req("same", 1, 0)
		mine.peer, theirs.peer, theirs.Provider = 1, 2, "q"
		a, b := att("same", 0), att("same", 0)
		a.peer, b.peer, b.Provider = 1, 2, "q"
		assert.Empty(t, add(j, b))
		assert.Empty(t, add(j, mine))
		done := add(j, a)
		require.Len(t, done, 1)
		assert.Equal(t, "p", done[0].Attempts[0].Provider)
		done = add(j, theirs)
		require.Len(t, done, 1)
		assert.Equal(t, "q", done[0].Attempts[0].Provider)
	})
	t.Run("at once on one", func(t *testing.T) {
		j := joiner(newClock(), 0)
		assert.Empty(t, add(j, att("same", 0)))
		done := add(j, good("same", 1))
		require.Len(t, done, 1)
		require.Len(t, done[0].Attempts, 1)
		assert.Equal(t, 200, done[0].Attempts[0].Status, "not the other's failure")
		done = add(j, req("same", 1, 0))
		require.Len(t, done, 1)
		require.Len(t, done[0].Attempts, 1)
		assert.False(t, done[0].Partial)
	})
}

// A request that came last is not given up with the first of its id.
func TestEachRequestOfAnIDHasItsOwnTime(t *testing.T) {
	c := newClock()
	j := joiner(c, 0)
	add(j, req("same", 1, 0))
	c.pass(9 * time.Second)
	add(j, req("same", 1, time.Hour))
	c.pass(time.Second)
	assert.Len(t, j.Expire(), 1)
	done := add(j, att("same", time.Hour))
	require.Len(t, done, 1)
	assert.False(t, done[0].Partial)
	assert.Empty(t, j.waiting)
}

func TestAnAttemptWaitsForALongStream(t *testing.T) {
	c := newClock()
	j := joiner(c, 0)
	add(j, att("a", 0))
	c.pass(10 * time.Minute)
	assert.Empty(t, j.Expire())
	assert.Empty(t, add(j, req("a", 2, 0)), "its second attempt is on the way")
	c.pass(2 * time.Second)
	done := add(j, att("a", 9*time.Minute))
	require.Len(t, done, 1, "though Envoy's clock jumped meanwhile")
	assert.Len(t, done[0].Attempts, 2)
}

func TestAnIDMayBeUsedAgain(t *testing.T) {
	t.Run("one after the other", func(t *testing.T) {
		j := joiner(newClock(), 0)
		for i := range 100 {
			after := time.Duration(i) * time.Minute
			assert.Empty(t, add(j, req("same", 1, after)))
			require.Len(t, add(j, att("same", after)), 1, "no request is swallowed: each costs money")
		}
	})
	t.Run("at one time, apart by their times", func(t *testing.T) {
		j := joiner(newClock(), 0)
		add(j, req("same", 1, 0))
		add(j, req("same", 1, time.Minute))
		done := add(j, att("same", time.Minute))
		require.Len(t, done, 1)
		assert.Equal(t, begun.Add(time.Minute), done[0].Time)
		done = add(j, att("same", 0))
		require.Len(t, done, 1)
		assert.Equal(t, begun, done[0].Time)
	})
	t.Run("without end", func(t *testing.T) {
		j := joiner(newClock(), 0)
		done := 0
		for i := range 1000 {
			done += len(add(j, req("same", 1, time.Duration(i)*time.Millisecond)))
			for k := range 3 { // attempts that no request asked for
				done += len(add(j, att("same", time.Hour+time.Duration(3*i+k))))
			}
		}
		assert.LessOrEqual(t, j.Stats().Pending, maxPerID+maxRequestsID)
		assert.Equal(t, 1000, done+len(j.Drain()))
		assert.Zero(t, j.Stats().Pending)
	})
}

func TestTheBoundHolds(t *testing.T) {
	j := joiner(newClock(), 100)
	done := 0
	for i := range 1000 {
		add(j, att("a"+strconv.Itoa(i), 0))
		done += len(add(j, req("r"+strconv.Itoa(i), 1, 0)))
		require.LessOrEqual(t, j.Stats().Pending, 100)
	}
	assert.Equal(t, 900, done, "requests go out, without their attempts")
	assert.EqualValues(t, 1000, j.Stats().Orphans, "lone attempts went first")
	assert.Len(t, j.Drain(), 100)
	assert.Empty(t, j.waiting)
	assert.Zero(t, j.short.Len()+j.long.Len())
}
