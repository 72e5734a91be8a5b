package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	openai "github.com/sashabaranov/go-openai"

	"github.com/postern-proxy/postern/config"
)

// mostAnswer bounds what is read of a list of models.
const mostAnswer = 4 << 20

// askable says that a provider can be asked for its models, and may be: it has an
// address and a path for them.
func askable(p *config.Provider) bool {
	return p != nil && p.Probe != config.ProbeOff && p.Builtin == "" && p.Endpoint() != nil && p.Usable() && !p.Deployments() && !p.Translated()
}

// Ask asks a provider for its list of models and says what that means. Only the status
// counts, and that the answer is JSON:
//
//   - Any answer below 500 shows that the provider is there and is Good: not all have a
//     list (404), a key may be restricted to asking models (403, or a 401 that speaks
//     of missing scopes), and a limit on lists (429) is none on models.
//   - 401 is Failed: the key is not known.
//   - 500 and above (but 501), no answer, and what is no JSON are Failed.
//
// It asks with each of the provider's keys, until it finds that the provider itself is
// not well. There is an outcome of each question; at least one.
//
// Each probe makes its own connection, so that it meets the name, the address and the
// certificate as they are now. The error of an attempt is dropped: it may hold the
// provider's words.
func Ask(ctx context.Context, name string, p *config.Provider) []Outcome {
	var all []Outcome
	for _, credential := range p.Credentials() {
		o := Outcome{Provider: name, Key: credential.Place, At: time.Now(), Probe: true}
		o.Result, o.Class, o.Accepted = ask(ctx, p, credential.Secret.Reveal())
		o.Duration = time.Since(o.At)
		all = append(all, o)
		if o.Result == Failed && o.Class != BadKey {
			break
		}
	}
	return all
}

// Sum is what the outcomes of one question say of the provider itself: that it is good,
// if it was with one of its keys.
func Sum(all []Outcome) Outcome {
	var sum Outcome
	for _, o := range all {
		if sum = o; o.Result == Good {
			break
		}
	}
	return sum
}

func ask(ctx context.Context, p *config.Provider, secret string) (result Result, class Class, accepted bool) {
	asker, ok := newAsker(p, secret)
	if !ok {
		return Failed, TLS, false // no authority to trust: validated, so it does not happen
	}
	base := *p.Endpoint()
	base.Path, base.RawPath, base.RawQuery = p.BasePath(), "", ""
	settings := openai.DefaultConfig(secret)
	settings.BaseURL = base.String()
	settings.HTTPClient = asker
	_, err := openai.NewClientWithConfig(settings).ListModels(ctx)
	if asker.status == 0 {
		return Failed, unanswered(err), false
	}
	result, class = answered(asker.status, err)
	return result, class, result == Good && asker.status < 300
}

// asker sends one request as Envoy would send it to this provider, and keeps its status.
type asker struct {
	provider *config.Provider
	secret   string
	client   http.Client
	status   int
}

func newAsker(p *config.Provider, secret string) (*asker, bool) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if authorities := p.Authorities(); authorities != "" {
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM([]byte(authorities)) {
			return nil, false
		}
	}
	return &asker{provider: p, secret: secret, client: http.Client{
		// No proxy: Envoy knows none.
		Transport: &http.Transport{
			TLSClientConfig: secure, DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
			DialContext: finder(p.Resolvers()).dial,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, true
}

// finder dials by names as Envoy finds them: with these resolvers, if there are any. The
// next one is asked where one does not answer.
type finder []string

func (f finder) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	if len(f) == 0 {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	for _, at := range f {
		d := net.Dialer{Resolver: &net.Resolver{
			PreferGo: true,
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, at)
			},
		}}
		c, err = d.DialContext(ctx, network, address)
		if unanswered := new(net.DNSError); !errors.As(err, &unanswered) || unanswered.IsNotFound {
			return c, err
		}
	}
	return nil, err
}

// Do adds what this provider wants with each request.
func (a *asker) Do(r *http.Request) (*http.Response, error) {
	r.Header.Del("Content-Type") // there is no content
	r.Header.Set("User-Agent", "postern")
	for name, value := range a.provider.Headers {
		r.Header.Set(name, value)
	}
	if a.provider.Schema == config.SchemaAzure {
		r.Header.Del("Authorization")
		if a.secret != "" {
			r.Header.Set(openai.AzureAPIKeyHeader, a.secret)
		}
		if version := a.provider.APIVersion; version != "" {
			r.URL.RawQuery = url.Values{"api-version": {version}}.Encode()
		}
	}
	response, err := a.client.Do(r) //nolint:gosec // the address is the operator's
	if err != nil {
		return nil, err
	}
	a.status = response.StatusCode
	response.Body = bounded{io.LimitReader(response.Body, mostAnswer), response.Body}
	return response, nil
}

// bounded is a body that ends early.
type bounded struct {
	io.Reader
	io.Closer
}

// answered judges a status; err is what the client made of the body.
func answered(status int, err error) (Result, Class) {
	var refusal *openai.APIError
	switch {
	case status == http.StatusUnauthorized:
		if errors.As(err, &refusal) && restricted(refusal.Message) {
			return Good, ""
		}
		return Failed, BadKey
	case status >= 500 && status != http.StatusNotImplemented:
		return Failed, Server
	case status >= 300 || err == nil:
		return Good, ""
	}
	var shape *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &shape): // JSON, and not quite OpenAI's list
		return Good, ""
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Failed, Malformed
	}
	return Failed, unanswered(err)
}

// restricted says that a refusal is about what a good key may do.
func restricted(message string) bool {
	message = strings.ToLower(message)
	return strings.Contains(message, "insufficient permissions") || strings.Contains(message, "missing scopes")
}

// unanswered is why there was no answer, or no end of it.
func unanswered(err error) Class {
	var (
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		operation   *net.OpError
		late        net.Error
	)
	switch {
	case errors.As(err, &name):
		return DNS
	case errors.As(err, &certificate), errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch),
		errors.As(err, &operation) && operation.Op == "remote error": // an alert of the other side
		return TLS
	case errors.As(err, &late) && late.Timeout():
		if errors.As(err, &operation) && operation.Op == "dial" {
			return Connect
		}
		return Timeout
	case errors.Is(err, syscall.ECONNREFUSED), errors.As(err, &operation) && operation.Op == "dial":
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Reset
	}
	return Malformed
}
