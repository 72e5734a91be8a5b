// Package dns is a name server for tests: a real one, on UDP, that answers as slowly,
// as wrongly or as seldom as it is told.
//
// The invariant: it knows the names that it was given and no others, and counts every
// question, answered or not. A Server may be used from several goroutines.
package dns

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// ttl is how long its answers may be kept, in seconds: the shortest that there is.
const ttl = 1

// Server answers from New until Close.
type Server struct {
	socket net.PacketConn
	ctx    context.Context //nolint:containedctx // the server's life, which slow answers end with
	stop   context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	names map[string][]netip.Addr
	mood  Mood
	asked map[string]int
}

// Mood is how questions are answered. The zero value is at once, and truly.
type Mood struct {
	Delay  time.Duration // before each answer
	Fail   bool          // SERVFAIL, whatever is asked
	Silent bool          // no answer
}

// Start starts a server that is closed when the test ends.
func Start(tb testing.TB) *Server {
	tb.Helper()
	socket, err := new(net.ListenConfig).ListenPacket(tb.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("fake name server: %v", err)
	}
	s := &Server{socket: socket, names: map[string][]netip.Addr{}, asked: map[string]int{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.work.Go(s.serve)
	tb.Cleanup(s.Close)
	return s
}

// Close ends the server and the answers under way, and waits for them.
func (s *Server) Close() {
	s.stop()
	_ = s.socket.Close()
	s.work.Wait()
}

// Address is where it is asked: host:port.
func (s *Server) Address() string { return s.socket.LocalAddr().String() }

// Set gives a name its addresses, IPv4 or IPv6; none: it is not there any more.
func (s *Server) Set(name string, addresses ...string) {
	all := make([]netip.Addr, len(addresses))
	for i, text := range addresses {
		all[i] = netip.MustParseAddr(text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, name)
	if len(all) > 0 {
		s.names[name] = all
	}
}

// Become changes how questions are answered that come from now on.
func (s *Server) Become(m Mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = m
}

// Asked is how often a name was asked for.
func (s *Server) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}

func (s *Server) serve() {
	packet := make([]byte, 4096)
	for {
		n, from, err := s.socket.ReadFrom(packet)
		if err != nil {
			return
		}
		var question dnsmessage.Message
		if question.Unpack(packet[:n]) != nil || len(question.Questions) != 1 {
			continue
		}
		answer, mood := s.answer(question)
		if mood.Silent {
			continue
		}
		s.work.Go(func() { s.send(answer, from, mood.Delay) })
	}
}

func (s *Server) send(answer dnsmessage.Message, to net.Addr, after time.Duration) {
	select {
	case <-s.ctx.Done():
		return
	case <-time.After(after):
	}
	if packet, err := answer.Pack(); err == nil {
		_, _ = s.socket.WriteTo(packet, to)
	}
}

// answer is what is known of the one name that is asked for.
func (s *Server) answer(question dnsmessage.Message) (dnsmessage.Message, Mood) {
	asked := question.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(asked.Name.String(), "."))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[name]++
	answer := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: question.ID, Response: true, Authoritative: true,
			RecursionDesired: question.RecursionDesired, RecursionAvailable: true,
		},
		Questions: question.Questions,
	}
	addresses, known := s.names[name]
	switch {
	case s.mood.Fail:
		answer.RCode = dnsmessage.RCodeServerFailure
		return answer, s.mood
	case !known:
		answer.RCode = dnsmessage.RCodeNameError
	}
	for _, address := range addresses {
		resource := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: asked.Name, Class: dnsmessage.ClassINET, TTL: ttl}}
		switch {
		case asked.Type == dnsmessage.TypeA && address.Is4():
			resource.Body = &dnsmessage.AResource{A: address.As4()}
		case asked.Type == dnsmessage.TypeAAAA && address.Is6():
			resource.Body = &dnsmessage.AAAAResource{AAAA: address.As16()}
		default:
			continue
		}
		answer.Answers = append(answer.Answers, resource)
	}
	return answer, s.mood
}
