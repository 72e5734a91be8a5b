package openai

import (
	"net"

	"github.com/postern-proxy/postern/test/authority"
	"github.com/postern-proxy/postern/test/fake/stage"
)

// Option changes how a server is made.
type Option func(*settings)

type settings struct {
	stage.Opening

	key     string
	keep    int
	witness func(Request, Said)
}

// WithListener serves on l, which the server then owns.
func WithListener(l net.Listener) Option { return func(s *settings) { s.Listener = l } }

// WithTLS serves TLS, HTTP/1.1 and HTTP/2, with a certificate for the given host
// names and addresses, beside localhost, 127.0.0.1 and ::1. The authority may be
// shared by several servers; nil makes one.
func WithTLS(from *authority.Authority, hosts ...string) Option {
	return func(s *settings) { s.TLS, s.Authority, s.Hosts = true, from, hosts }
}

// WithoutHTTP2 offers only HTTP/1.1 to TLS clients.
func WithoutHTTP2() Option { return func(s *settings) { s.NoHTTP2 = true } }

// WithKey answers 401 to requests that do not carry this bearer token. Without it,
// any credential or none will do.
func WithKey(key string) Option { return func(s *settings) { s.key = key } }

// WithBodiesUpTo keeps only the first n bytes of each recorded body. Length and
// digest are always those of the whole. Default: all of it.
func WithBodiesUpTo(n int) Option { return func(s *settings) { s.keep = n } }

// WithWitness tells f of each request once it is known how it will be answered, before
// the answer's first byte: what the provider itself counts. f is called from several
// goroutines.
func WithWitness(f func(Request, Said)) Option { return func(s *settings) { s.witness = f } }
