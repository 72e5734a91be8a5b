package usage

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// The sliding minute is made of slots; times are sorted into boxes that grow by a
// tenth, so that a quantile is right within a twentieth.
const (
	slotLength = 2 * time.Second
	slots      = 30
	boxes      = 140
	boxFactor  = 1.1
	firstBox   = time.Millisecond
	// mostRows bounds the routes, and the providers, that have a row of their own.
	mostRows = 128
)

// WindowSettings are what a Window needs. The zero value is usable.
type WindowSettings struct {
	Now func() time.Time // default time.Now; only differences matter
}

// Window is a Consumer that knows the last minute, by when entries came: rates, first
// bytes, tokens, cost and errors of each route and provider.
type Window struct {
	now func() time.Time

	mu        sync.Mutex
	begun     time.Time
	total     *series
	routes    table
	providers table
}

// table are rows by their names.
type table struct {
	rows  map[string]*series
	swept int64 // the slot in which it was
}

var _ Consumer = (*Window)(nil)

// series is one row's minute.
type series struct {
	at    [slots]int64 // which slot, since the begin, the place holds
	slots [slots]tally
}

// tally is what happened in one slot. Times are kept as counts in boxes.
type tally struct {
	requests, errors, unpriced int64
	tokens                     int64
	picodollars                float64
	blames                     [3]int64 // client, gateway, provider
	times                      [boxes]uint32
}

// NewWindow makes an empty one.
func NewWindow(s WindowSettings) *Window {
	if s.Now == nil {
		s.Now = time.Now
	}
	return &Window{
		now: s.Now, begun: s.Now(), total: new(series),
		routes: table{rows: map[string]*series{}}, providers: table{rows: map[string]*series{}},
	}
}

// Consume counts one request: for its route, for the provider that answered, and each
// attempt for the provider it was at.
func (w *Window) Consume(r *Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	slot := w.slot()
	box := boxOf(r.FirstByte)
	for _, row := range [...]*series{w.total, w.routes.row(routeLabel(r), slot)} {
		t := row.current(slot)
		t.happened(r.Blame, box)
		t.used(r)
	}
	for i := range r.Attempts {
		if a := &r.Attempts[i]; a.Provider != "" {
			w.providers.row(a.Provider, slot).current(slot).happened(a.Blame, boxOf(a.FirstByte))
		}
	}
	if r.Provider != "" {
		w.providers.row(r.Provider, slot).current(slot).used(r)
	}
}

func (w *Window) slot() int64 { return int64(w.now().Sub(w.begun) / slotLength) }

// row finds or makes a row. Where there are too many, one that was silent for the
// minute gives way; if none was, the value is among the others.
func (t *table) row(name string, slot int64) *series {
	rows := t.rows
	if found := rows[name]; found != nil {
		return found
	}
	if len(rows) >= mostRows && slot > t.swept {
		t.swept = slot // looking through all rows once a slot is enough
		oldest := slot - slots
		maps.DeleteFunc(rows, func(_ string, s *series) bool { return slices.Max(s.at[:]) <= oldest })
	}
	if len(rows) >= mostRows {
		name = OtherLabel
		if found := rows[name]; found != nil {
			return found
		}
	}
	made := new(series)
	rows[name] = made
	return made
}

// current is the tally of a slot; what its place held a minute ago is gone.
func (s *series) current(slot int64) *tally {
	place := slot % slots
	if s.at[place] != slot {
		s.at[place], s.slots[place] = slot, tally{}
	}
	return &s.slots[place]
}

func (t *tally) happened(b Blame, box int) {
	t.requests++
	switch b {
	case Client:
		t.blames[0]++
	case Gateway:
		t.blames[1]++
	case Provider:
		t.blames[2]++
	}
	if b != Nobody {
		t.errors++
	}
	if box >= 0 {
		t.times[box]++
	}
}

func (t *tally) used(r *Request) {
	t.tokens += r.Tokens.Input.N + r.Tokens.Output.N
	t.picodollars += float64(r.Cost.Amount)
	if !r.Cost.Known && r.Provider != "" && r.Endpoint.Metered() {
		t.unpriced++
	}
}

func (t *tally) add(other *tally) {
	t.requests += other.requests
	t.errors += other.errors
	t.unpriced += other.unpriced
	t.tokens += other.tokens
	t.picodollars += other.picodollars
	for i, n := range other.blames {
		t.blames[i] += n
	}
	for i, n := range other.times {
		t.times[i] += n
	}
}

// boxOf is the box of a time; -1 of none.
func boxOf(d time.Duration) int {
	switch {
	case d <= 0:
		return -1
	case d <= firstBox:
		return 0
	}
	return min(boxes-1, 1+int(math.Log(float64(d)/float64(firstBox))/boxWidth))
}

// boxWidth is a box's on a logarithmic scale.
var boxWidth = math.Log(boxFactor)

// quantile is the middle of the box that holds the quantile; 0 if there is no time.
func (t *tally) quantile(q float64) time.Duration {
	all := uint64(0)
	for _, n := range t.times {
		all += uint64(n)
	}
	if all == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(all)))
	for i, n := range t.times {
		if rank <= uint64(n) {
			return time.Duration(float64(firstBox) * math.Pow(boxFactor, float64(i)-0.5))
		}
		rank -= uint64(n)
	}
	return 0
}

// Snapshot is the last minute now.
func (w *Window) Snapshot() Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	slot := int64(now.Sub(w.begun) / slotLength)
	// The slot that goes on is in the window, the one a minute ago is out.
	span := min(now.Sub(w.begun), now.Sub(w.begun)%slotLength+(slots-1)*slotLength)
	span = max(span, time.Second)
	return Snapshot{
		At: now, Span: span,
		Total:     w.total.row("total", slot, span),
		Routes:    rowsOf(w.routes.rows, slot, span),
		Providers: rowsOf(w.providers.rows, slot, span),
	}
}

func rowsOf(all map[string]*series, slot int64, span time.Duration) []Row {
	rows := make([]Row, 0, len(all))
	for name, s := range all {
		if row := s.row(name, slot, span); row.Requests > 0 {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

func (s *series) row(name string, slot int64, span time.Duration) Row {
	var sum tally
	for place := range s.slots {
		if s.at[place] > slot-slots && s.at[place] <= slot {
			sum.add(&s.slots[place])
		}
	}
	seconds := span.Seconds()
	return Row{
		Name: name, Requests: sum.requests, Errors: sum.errors,
		Client: sum.blames[0], Gateway: sum.blames[1], Provider: sum.blames[2],
		Rate: float64(sum.requests) / seconds, TokenRate: float64(sum.tokens) / seconds,
		FirstByte50: sum.quantile(0.50), FirstByte95: sum.quantile(0.95),
		CostPerHour: sum.picodollars / 1e12 / seconds * 3600, Unpriced: sum.unpriced,
	}
}
