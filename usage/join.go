package usage

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

// Bounds of one request id: a configuration may ask for so many attempts, and a client
// that uses one id for everything must not fill the joiner with it.
const (
	maxAttempts   = 256
	maxPerID      = 2 * maxAttempts
	maxRequestsID = 16
)

// JoinSettings bound what a Joiner holds. The zero value has the defaults.
type JoinSettings struct {
	// Pending is the most entries that wait for their other half; default 65,536.
	Pending int
	// RequestAge is how long a request waits for entries of its attempts: a few
	// flushes of the log. Default 10s.
	RequestAge time.Duration
	// AttemptAge is how long an attempt waits for its request, which may go on for
	// as long as a route allows. Default 15m.
	AttemptAge time.Duration
	// Now is the clock; default time.Now. Ages are measured from an entry's arrival
	// with the monotonic clock, so that wall clocks may jump.
	Now func() time.Time
}

// JoinStats are a Joiner's counts since its begin.
type JoinStats struct {
	Requests, Attempts uint64 // entries that came, without duplicates
	Duplicates         uint64 // entries that came twice
	Partial            uint64 // requests that went out without all of their attempts
	Orphans            uint64 // attempts whose request never came
	Pending            int    // entries that wait now
}

// Joiner puts requests and their attempts together by the request's id. Entries may
// come in any order, twice, or never. What it holds is bounded by count and age.
type Joiner struct {
	settings JoinSettings

	mu      sync.Mutex
	waiting map[string]*group
	short   list.List // groups with a request, by when the first one came
	long    list.List // groups with attempts only, likewise
	seen    *seen
	stats   JoinStats
}

// group is all that waits under one id.
type group struct {
	id       string
	requests []*Request
	attempts []Attempt
	due      time.Time
	place    *list.Element
	in       *list.List
}

// NewJoiner makes a Joiner that holds nothing.
func NewJoiner(s JoinSettings) *Joiner {
	if s.Pending <= 0 {
		s.Pending = 1 << 16
	}
	if s.RequestAge <= 0 {
		s.RequestAge = 10 * time.Second
	}
	if s.AttemptAge <= 0 {
		s.AttemptAge = 15 * time.Minute
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	return &Joiner{settings: s, waiting: map[string]*group{}, seen: newSeen(s.Pending)}
}

// Stats are the counts so far.
func (j *Joiner) Stats() JoinStats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stats
}

// AddRequests takes requests and gives those requests that are complete now.
func (j *Joiner) AddRequests(all []*Request) []*Request {
	if len(all) == 0 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	done := make([]*Request, 0, len(all))
	for _, r := range all {
		if j.seen.again(&mark{
			id: r.ID, begun: r.Time, took: r.Duration, provider: r.Provider,
			status: r.Status, in: r.BytesIn, out: r.BytesOut,
		}) {
			j.stats.Duplicates++
			continue
		}
		j.stats.Requests++
		// Most have one attempt that did not fail: they wait for nothing. Without an
		// id, nothing can be found again.
		if r.ID == "" || r.needs() == 0 && j.waiting[r.ID] == nil {
			done = append(done, j.out(r, nil))
			continue
		}
		g := j.group(r.ID)
		g.requests = append(g.requests, r)
		j.stats.Pending++
		if len(g.requests) > maxRequestsID {
			done = append(done, j.release(g))
		}
		done = append(done, j.settle(g)...)
	}
	return append(done, j.bound()...)
}

// AddAttempts takes attempts and gives those requests that are complete now.
func (j *Joiner) AddAttempts(all []Attempt) []*Request {
	if len(all) == 0 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var done []*Request
	for i := range all {
		a := &all[i]
		if j.seen.again(&mark{
			attempt: true, id: a.RequestID, begun: a.Time, took: a.Duration, provider: a.Provider,
			status: a.Status, in: a.BytesIn, out: a.BytesOut,
		}) {
			j.stats.Duplicates++
			continue
		}
		j.stats.Attempts++
		if a.RequestID == "" {
			j.stats.Orphans++
			continue
		}
		g := j.group(a.RequestID)
		if len(g.attempts) >= maxPerID {
			j.stats.Orphans++
			continue
		}
		g.attempts = append(g.attempts, *a)
		j.stats.Pending++
		done = append(done, j.settle(g)...)
	}
	return append(done, j.bound()...)
}

// Expire gives up on what waited too long: requests go out without the attempts that
// are missing, attempts without a request are counted and dropped.
func (j *Joiner) Expire() []*Request {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.settings.Now()
	var done []*Request
	for _, queue := range []*list.List{&j.short, &j.long} {
		for front := queue.Front(); front != nil && !groupAt(front).due.After(now); front = queue.Front() {
			done = append(done, j.giveUp(groupAt(front))...)
		}
	}
	return done
}

// Drain gives up on everything, at the end.
func (j *Joiner) Drain() []*Request {
	j.mu.Lock()
	defer j.mu.Unlock()
	var done []*Request
	for _, g := range j.waiting {
		done = append(done, j.giveUp(g)...)
	}
	return done
}

// group finds or makes the group of an id.
func (j *Joiner) group(id string) *group {
	g := j.waiting[id]
	if g == nil {
		g = &group{id: id}
		j.waiting[id] = g
	}
	return g
}

// settle gives the group's complete requests and puts the rest where it waits.
func (j *Joiner) settle(g *group) []*Request {
	var done []*Request
	for i := 0; i < len(g.requests); {
		chosen := g.choose(g.requests[i])
		if len(chosen) < g.requests[i].needs() {
			i++
			continue
		}
		done = append(done, j.complete(g, i, chosen))
	}
	j.place(g)
	return done
}

// needs is how many attempts of a request have entries of their own. Only those that
// failed do, and its own entry tells of the last whether that one did; where it cannot
// be known, because Envoy ended it, all are waited for.
func (r *Request) needs() int {
	if r.Tried > 0 && r.Status < 300 && (r.Flags == "" || r.Aborted) {
		return r.Tried - 1
	}
	return r.Tried
}

// choose are the places of the attempts that belong to a request. Where an id was used
// for several requests, time tells them apart; else the id alone, so that a clock that
// jumped meanwhile changes nothing.
func (g *group) choose(r *Request) []int {
	all := make([]int, 0, min(len(g.attempts), r.Tried))
	for pass := range 2 {
		strict := pass == 0
		for i := range g.attempts {
			if len(all) == r.Tried {
				return all
			}
			if strict == r.covers(&g.attempts[i]) && (strict || len(g.requests) == 1) {
				all = append(all, i)
			}
		}
	}
	return all
}

// covers says that the attempt began while the request went on.
func (r *Request) covers(a *Attempt) bool {
	const slack = 10 * time.Millisecond // Envoy's clock is read once an event loop
	return !a.Time.Before(r.Time.Add(-slack)) && !a.Time.After(r.Time.Add(r.Duration+slack))
}

// complete takes a request and its attempts out of the group.
func (j *Joiner) complete(g *group, at int, chosen []int) *Request {
	r := g.requests[at]
	g.requests = slices.Delete(g.requests, at, at+1)
	own := make([]Attempt, 0, len(chosen))
	for _, i := range chosen {
		own = append(own, g.attempts[i])
	}
	slices.Sort(chosen)
	for _, i := range slices.Backward(chosen) {
		g.attempts = slices.Delete(g.attempts, i, i+1)
	}
	j.stats.Pending -= 1 + len(own)
	return j.out(r, own)
}

// out is a request on its way to the consumers.
func (j *Joiner) out(r *Request, own []Attempt) *Request {
	if len(own) == 0 && r.Tried == 1 && len(r.last) == 1 { // nearly all
		r.entries, r.Partial = 1, false
		r.Attempts = slices.Clip(r.last)
		return r
	}
	slices.SortStableFunc(own, func(a, b Attempt) int {
		if a.number != b.number && a.number != 0 && b.number != 0 {
			return int(a.number) - int(b.number)
		}
		return a.Time.Compare(b.Time)
	})
	r.entries = 1 + uint64(len(own))
	if len(own) == r.Tried-1 { // what is missing is the last, and the entry tells it
		own = append(own, r.last...)
	}
	r.Attempts = own
	if r.Partial = len(own) < r.Tried; r.Partial {
		j.stats.Partial++
	}
	return r
}

// release sends the group's oldest request off with what there is.
func (j *Joiner) release(g *group) *Request { return j.complete(g, 0, g.choose(g.requests[0])) }

// giveUp sends all the group's requests off and drops the rest.
func (j *Joiner) giveUp(g *group) []*Request {
	var done []*Request
	for len(g.requests) > 0 {
		done = append(done, j.release(g))
	}
	j.stats.Orphans += uint64(len(g.attempts))
	j.stats.Pending -= len(g.attempts)
	g.attempts = nil
	j.place(g)
	return done
}

// place puts a group into the queue it waits in, if it has to.
func (j *Joiner) place(g *group) {
	queue, age := &j.long, j.settings.AttemptAge
	if len(g.requests) > 0 {
		queue, age = &j.short, j.settings.RequestAge
	}
	empty := len(g.requests) == 0 && len(g.attempts) == 0
	if g.in == queue && !empty {
		return
	}
	if g.place != nil {
		g.in.Remove(g.place)
		g.place, g.in = nil, nil
	}
	if empty {
		delete(j.waiting, g.id)
		return
	}
	g.due = j.settings.Now().Add(age)
	g.place, g.in = queue.PushBack(g), queue
}

// bound keeps the number of entries within the limit: lone attempts go first.
func (j *Joiner) bound() []*Request {
	var done []*Request
	for j.stats.Pending > j.settings.Pending {
		front := j.long.Front()
		if front == nil {
			front = j.short.Front()
		}
		done = append(done, j.giveUp(groupAt(front))...)
	}
	return done
}

// groupAt is what a place in a queue holds: groups, and nothing else.
func groupAt(place *list.Element) *group {
	g, _ := place.Value.(*group)
	return g
}
