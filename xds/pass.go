package xds

import (
	"context"
	"sync"
	"sync/atomic"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	adsserver "github.com/envoyproxy/go-control-plane/pkg/server/v3"
)

// again is the nonce of a request that nobody sent: it has a type looked at again.
const again = "again"

// passing serves ADS with a pass for each stream.
type passing struct{ adsserver.Server }

// DeltaAggregatedResources serves one stream, until its Envoy goes or its pass is
// withdrawn.
func (p passing) DeltaAggregatedResources(stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	its := newPass(stream)
	go its.hear()
	err := p.Server.DeltaAggregatedResources(its)
	if why := its.why.Load(); why != nil {
		return *why
	}
	return err
}

// pass is one stream, which can be ended and woken from outside: after withdraw has
// returned nothing more is begun to be sent. Its methods may be called from any
// goroutine, but for those of the stream.
type pass struct {
	discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer

	ctx  context.Context //nolint:containedctx // the stream's own, with the pass in it
	said chan *discovery.DeltaDiscoveryRequest

	why  atomic.Pointer[error]
	over chan struct{} // closed when it is withdrawn
	once sync.Once

	mu    sync.Mutex
	woken []string // types
	bell  chan struct{}
}

// passKey finds the pass in the context of its stream.
type passKey struct{}

func newPass(stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) *pass {
	p := &pass{
		AggregatedDiscoveryService_DeltaAggregatedResourcesServer: stream,

		said: make(chan *discovery.DeltaDiscoveryRequest), over: make(chan struct{}), bell: make(chan struct{}, 1),
	}
	p.ctx = context.WithValue(stream.Context(), passKey{}, p)
	return p
}

// passOf is nil where the stream has none.
func passOf(ctx context.Context) *pass {
	p, _ := ctx.Value(passKey{}).(*pass)
	return p
}

// withdraw ends the stream.
func (p *pass) withdraw(why error) {
	p.once.Do(func() {
		p.why.Store(&why)
		close(p.over)
	})
}

// wake has the server look at a type again, as if the Envoy had said something of it.
func (p *pass) wake(kind string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.woken = append(p.woken, kind)
	p.ring()
}

// ring says that there are woken types. The caller holds p.mu.
func (p *pass) ring() {
	select {
	case p.bell <- struct{}{}:
	default: // it rings already
	}
}

// next is a woken type; false: there is none any more.
func (p *pass) next() (kind string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.woken) == 0 {
		return "", false
	}
	kind, p.woken = p.woken[0], p.woken[1:]
	if len(p.woken) > 0 {
		p.ring()
	}
	return kind, true
}

// hear takes what the Envoy says until the stream has ended.
func (p *pass) hear() {
	defer close(p.said)
	for {
		r, err := p.AggregatedDiscoveryService_DeltaAggregatedResourcesServer.Recv()
		if err != nil {
			return
		}
		select {
		case p.said <- r:
		case <-p.over:
			return
		case <-p.ctx.Done():
			return
		}
	}
}

// Context is the stream's.
func (p *pass) Context() context.Context { return p.ctx }

// Recv gives what the Envoy says, and what it is made to say.
func (p *pass) Recv() (*discovery.DeltaDiscoveryRequest, error) {
	for {
		select {
		case <-p.over:
			return nil, *p.why.Load()
		case r, open := <-p.said:
			if !open {
				return nil, context.Canceled
			}
			return r, nil
		case <-p.bell:
			if kind, ok := p.next(); ok {
				return &discovery.DeltaDiscoveryRequest{TypeUrl: kind, ResponseNonce: again}, nil
			}
		}
	}
}

// Send sends a response, unless the pass was withdrawn.
func (p *pass) Send(r *discovery.DeltaDiscoveryResponse) error {
	if why := p.why.Load(); why != nil {
		return *why
	}
	return p.AggregatedDiscoveryService_DeltaAggregatedResourcesServer.Send(r)
}
