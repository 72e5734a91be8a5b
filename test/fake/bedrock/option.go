package bedrock

import (
	"github.com/postern-proxy/postern/test/authority"
	"github.com/postern-proxy/postern/test/fake/stage"
)

// Option changes how a server is made.
type Option func(*settings)

type settings struct {
	stage.Opening

	region      string
	host        string
	unsigned    bool
	credentials []Credential
	models      map[string]string
}

// WithTLS serves TLS, HTTP/1.1 and HTTP/2, with a certificate for the given host
// names and addresses, beside localhost, 127.0.0.1 and ::1. The authority may be
// shared by several servers; nil makes one.
func WithTLS(from *authority.Authority, hosts ...string) Option {
	return func(s *settings) { s.TLS, s.Authority, s.Hosts = true, from, hosts }
}

// WithoutHTTP2 offers only HTTP/1.1 to TLS clients.
func WithoutHTTP2() Option { return func(s *settings) { s.NoHTTP2 = true } }

// WithRegion is the region signatures must be made for. Default: Region.
func WithRegion(region string) Option { return func(s *settings) { s.region = region } }

// WithHost refuses requests for any other host, as a name that is not the service's
// would not reach it. Default: any host, if it is the one that was signed.
func WithHost(host string) Option { return func(s *settings) { s.host = host } }

// WithCredentials accepts these credentials in place of Test.
func WithCredentials(credentials ...Credential) Option {
	return func(s *settings) { s.credentials = credentials }
}

// WithoutSignatures answers requests whether they are signed or not.
func WithoutSignatures() Option { return func(s *settings) { s.unsigned = true } }

// WithModel lets an id that says nothing by itself, such as the ARN of an
// application inference profile, stand for a model.
func WithModel(id, model string) Option {
	return func(s *settings) {
		if s.models == nil {
			s.models = map[string]string{}
		}
		s.models[id] = model
	}
}
