package extproc

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/extproc/provider/bedrock"
	"github.com/postern-proxy/postern/extproc/provider/images"
	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/usage/price"
)

// Pick gives a request its own order of groups, before it is routed: without the targets
// that cannot serve it, because an attempt that finds out by itself ends the request;
// with those last that may not be able to; and, where the model prefers cost, by the
// price of this request. It looks at the body as all other stages left it, so it is the
// last.
type Pick struct {
	pattern string
	targets []target
	able    []able
	limited []limited
	costs   *costs // nil: the price says nothing
	counted bool   // tokens are wanted

	// last is the route that a request came with last: a pure function of its text, kept
	// because nearly all come with the same.
	last atomic.Pointer[arranged]
}

// able is what requests are tried on: a model behind another form, as a provider
// offers it.
type able struct {
	targets  []int  // which have just this
	model    string // a * in it is what the pattern's * stood for
	settings bedrock.Settings
	hosts    []string
}

// target is whom a member of a group is.
type target struct{ provider, model string }

// verdict is whether a target serves a request.
type verdict uint8

const (
	serves   verdict = iota // as far as anybody knows
	doubtful                // it may refuse, and that would be the request's end
	cannot
)

var _ Stage = (*Pick)(nil)

// NewPick makes the stage for the usable route of an entry. prices is nil where they are
// not what the order follows from.
func NewPick(entry string, route [][]config.Target, providers map[string]*config.Provider, prices *price.Table) *Pick {
	p := &Pick{pattern: entry}
	for _, t := range slices.Concat(route...) {
		it := target{t.Provider, t.Model}
		if slices.Contains(p.targets, it) {
			continue
		}
		place := len(p.targets)
		p.targets = append(p.targets, it)
		if l, ok := limitedOf(t); ok {
			l.target = place
			p.limited = append(p.limited, l)
			p.counted = p.counted || l.context > 0
		}
		p.translates(place, providers[t.Provider])
	}
	if prices != nil {
		p.costs = newCosts(entry, p.targets, prices)
		p.counted = true
	}
	return p
}

// translates notes a target of another form.
func (p *Pick) translates(place int, its *config.Provider) {
	if !its.Translated() {
		return
	}
	own := able{targets: []int{place}, model: p.targets[place].model, hosts: its.ImageHosts(), settings: bedrock.Settings{Fields: its.Fields}}
	if i := slices.IndexFunc(p.able, own.same); i >= 0 {
		p.able[i].targets = append(p.able[i].targets, place)
		return
	}
	p.able = append(p.able, own)
}

func (a *able) same(b able) bool {
	return a.model == b.model && slices.Equal(a.settings.Fields, b.settings.Fields) && slices.Equal(a.hosts, b.hosts)
}

// Name is "pick".
func (*Pick) Name() string { return "pick" }

// Apply judges each target, and says which groups are left and in which order, if that is
// not what the route has.
func (p *Pick) Apply(_ context.Context, r *Request) error {
	text := r.edited()
	if text == nil {
		text = r.Body
	}
	asked := modelOf(r)
	judged := judgement{verdicts: make([]verdict, len(p.targets))}
	if len(p.able) > 0 {
		reading := bedrock.Read(r.Path, text)
		for i := range p.able {
			p.able[i].judge(&judged, reading, renamed(p.pattern, p.able[i].model, asked))
		}
	}
	var asks need
	if p.limited != nil || p.costs != nil {
		asks = needOf(r.Endpoint, text, p.counted)
	}
	for _, l := range p.limited {
		v, err := l.judge(&asks)
		judged.say(l.target, v, err)
	}
	if judged.first == nil && !judged.doubts && p.costs == nil {
		return nil
	}
	route, err := p.route(r)
	if err != nil {
		return &fault.Error{Op: "extproc.pick", Kind: fault.Internal, Cause: err}
	}
	if p.costs != nil {
		judged.prices = p.costs.of(&asks, asked)
	}
	groups, same := route.arrange(&judged)
	switch {
	case same:
	case len(groups) == 0:
		return judged.first
	default:
		r.chosen = groups
	}
	return nil
}

// judgement is what is said of each target, by its place.
type judgement struct {
	verdicts []verdict
	prices   []float64 // dollars; NaN: not known; nil: nobody asked
	doubts   bool
	first    error // why a target cannot
}

func (j *judgement) say(place int, v verdict, why error) {
	j.verdicts[place] = max(j.verdicts[place], v)
	j.doubts = j.doubts || v == doubtful
	if j.first == nil {
		j.first = why
	}
}

// judge tries a request on a model behind another form. An image that has to be fetched
// is the attempt's business, and makes it one that may fail.
func (a *able) judge(j *judgement, reading *bedrock.Reading, model string) {
	settings, fetches := a.settings, false
	settings.Images = pictured(a.hosts, &fetches)
	err := reading.Check(model, settings)
	v := serves
	switch {
	case err != nil:
		v = cannot
	case fetches:
		v = doubtful
	}
	for _, place := range a.targets {
		j.say(place, v, err)
	}
}

// modelOf is the name the client gave; empty if there is none.
func modelOf(r *Request) string {
	field, there := r.Fields.Find("model")
	if !there {
		return ""
	}
	name, _ := body.Text(field.Raw(r.Body))
	return name
}

// pictured stands for the images of those hosts, without fetching any: the smallest
// that is one. It is nil where there are no hosts. asked is set once it is.
func pictured(hosts []string, asked *bool) func(string) ([]byte, error) {
	if len(hosts) == 0 {
		return nil
	}
	return func(address string) ([]byte, error) {
		*asked = true
		if err := images.Allowed(address, hosts); err != nil {
			return nil, err
		}
		return []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), nil
	}
}
