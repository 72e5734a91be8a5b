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
	// as long as a route allows: a day. Default 25h.
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

// Joiner puts requests and their attempts together by the request's id and the client's
// connection: an id is the client's, and may be another's too. Entries may come in any
// order, twice, or never. What it holds is bounded by count and age.
type Joiner struct {
	settings JoinSettings

	mu      sync.Mutex
	waiting map[joint]*group
	short   list.List // groups with a request, by when the first one came
	long    list.List // groups with attempts only, likewise
	seen    *seen
	stats   JoinStats
}

// joint is what a request and its attempts have in common.
type joint struct {
	id   string
	peer uint64 // of the connection, hashed; 0: it has no address
}

// group is all that waits under one joint, in the order that it came.
type group struct {
	of       joint
	requests []held[*Request]
	attempts []held[Attempt]
	due      time.Time // of the oldest when it was put into its queue
	place    *list.Element
	in       *list.List
}

// held is an entry that waits.
type held[T any] struct {
	entry T
	since time.Time
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
		s.AttemptAge = 25 * time.Hour
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	return &Joiner{settings: s, waiting: map[joint]*group{}, seen: newSeen(s.Pending)}
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
		of := joint{r.ID, r.peer}
		if r.ID == "" || r.needs() == 0 && (r.most() == 0 || j.waiting[of] == nil) {
			done = append(done, j.out(r, nil))
			continue
		}
		g := j.group(of)
		g.requests = append(g.requests, held[*Request]{r, j.settings.Now()})
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
		g := j.group(joint{a.RequestID, a.peer})
		if len(g.attempts) >= maxPerID {
			j.stats.Orphans++
			continue
		}
		g.attempts = append(g.attempts, held[Attempt]{*a, j.settings.Now()})
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
			done = append(done, j.expire(groupAt(front), now)...)
		}
	}
	return done
}

// expire gives up on what of a group waited too long. The rest waits behind all others,
// so it may wait for up to twice its time.
func (j *Joiner) expire(g *group, now time.Time) []*Request {
	var done []*Request
	for len(g.requests) > 0 && !g.requests[0].since.Add(j.settings.RequestAge).After(now) {
		done = append(done, j.release(g))
	}
	late := 0
	for late < len(g.attempts) && !g.attempts[late].since.Add(j.settings.AttemptAge).After(now) {
		late++
	}
	j.drop(g, late)
	j.leave(g)
	j.place(g)
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

// group finds or makes a group.
func (j *Joiner) group(of joint) *group {
	g := j.waiting[of]
	if g == nil {
		g = &group{of: of}
		j.waiting[of] = g
	}
	return g
}

// settle gives the group's complete requests and puts the rest where it waits.
func (j *Joiner) settle(g *group) []*Request {
	var done []*Request
	for i := 0; i < len(g.requests); {
		r := g.requests[i].entry
		if needs := r.needs(); len(g.attempts) >= needs {
			if chosen := g.choose(r); len(chosen) >= needs {
				done = append(done, j.complete(g, i, chosen))
				continue
			}
		}
		i++
	}
	j.place(g)
	return done
}

// choose are the places of the attempts that belong to a request, in the order of the
// log. Where a joint was used for several requests, time tells them apart; else the joint
// alone, so that a clock that jumped meanwhile changes nothing.
func (g *group) choose(r *Request) []int {
	needs, most := r.needs(), r.most()
	all := make([]int, 0, min(len(g.attempts), most))
	for i := range g.attempts {
		if len(all) < most && r.covers(&g.attempts[i].entry) {
			all = append(all, i)
		}
	}
	if len(g.requests) > 1 {
		return all
	}
	for i := range g.attempts {
		if len(all) < needs && !r.covers(&g.attempts[i].entry) {
			all = append(all, i)
		}
	}
	return all
}

// complete takes a request and its attempts out of the group.
func (j *Joiner) complete(g *group, at int, chosen []int) *Request {
	r := g.requests[at].entry
	g.requests = slices.Delete(g.requests, at, at+1)
	own := make([]Attempt, 0, len(chosen)+1)
	for _, i := range chosen {
		own = append(own, g.attempts[i].entry)
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
	if len(own) < r.Tried && !r.hasLast(own) { // the request's own entry tells of it
		own = append(own, r.last...)
	}
	r.Attempts = own
	if r.Partial = len(own) < r.Tried; r.Partial {
		j.stats.Partial++
	}
	return r
}

// release sends the group's oldest request off with what there is.
func (j *Joiner) release(g *group) *Request { return j.complete(g, 0, g.choose(g.requests[0].entry)) }

// giveUp sends all the group's requests off and drops the rest.
func (j *Joiner) giveUp(g *group) []*Request {
	var done []*Request
	for len(g.requests) > 0 {
		done = append(done, j.release(g))
	}
	j.drop(g, len(g.attempts))
	j.place(g)
	return done
}

// drop forgets the group's oldest attempts, so many.
func (j *Joiner) drop(g *group, count int) {
	j.stats.Orphans += uint64(count) //nolint:gosec // a length
	j.stats.Pending -= count
	g.attempts = slices.Delete(g.attempts, 0, count)
}

// place puts a group into the queue it waits in, if it has to.
func (j *Joiner) place(g *group) {
	empty := len(g.requests) == 0 && len(g.attempts) == 0
	queue := &j.long
	if len(g.requests) > 0 {
		queue = &j.short
	}
	if g.in == queue && !empty {
		return
	}
	j.leave(g)
	switch {
	case empty:
		delete(j.waiting, g.of)
		return
	case queue == &j.short:
		g.due = g.requests[0].since.Add(j.settings.RequestAge)
	default:
		g.due = g.attempts[0].since.Add(j.settings.AttemptAge)
	}
	g.place, g.in = queue.PushBack(g), queue
}

// leave takes a group out of its queue.
func (j *Joiner) leave(g *group) {
	if g.place != nil {
		g.in.Remove(g.place)
		g.place, g.in = nil, nil
	}
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
