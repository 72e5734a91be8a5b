package bedrock

import (
	"crypto/hmac"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Region is the region a server has by default, and Test the only credential it
// then knows.
const Region = "us-east-1"

// Test is no account's credential.
var Test = Credential{ID: "AKIAFAKEFAKEFAKEFAKE", Secret: "fake/secret/fake/secret/fake/secret/fake"}

// Credential is one that signatures may be made with.
type Credential struct {
	ID      string
	Secret  string
	Token   string // of a session: must come as x-amz-security-token; empty: none may come
	Expired bool   // answered with ExpiredTokenException
	Denied  bool   // answered with AccessDeniedException, once its signature is right
}

// Signature is what a request claims of its signature.
type Signature struct {
	KeyID   string
	Date    string // 20060102
	Region  string
	Service string
	Headers []string // the SignedHeaders, in their order
	Value   string   // hex
}

const (
	algorithm = "AWS4-HMAC-SHA256"
	service   = "bedrock"
	timestamp = "20060102T150405Z"
	maxSkew   = 5 * time.Minute
)

// gate is who may come in.
type gate struct {
	region   string
	host     string
	unsigned bool

	mu    sync.Mutex
	known map[string]Credential
	skew  time.Duration
}

// Accept knows a credential from now on, in place of one with the same id.
func (s *Server) Accept(c Credential) {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	if s.gate.known == nil {
		s.gate.known = map[string]Credential{}
	}
	s.gate.known[c.ID] = c
}

// Skew makes the server's clock wrong by so much from now on.
func (s *Server) Skew(by time.Duration) {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	s.gate.skew = by
}

// claim reads the Authorization header; ok is false if it is not such a header.
func claim(authorization string) (claimed Signature, ok bool) {
	rest, ok := strings.CutPrefix(authorization, algorithm+" ")
	if !ok {
		return Signature{}, false
	}
	fields := map[string]string{}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if len(scope) != 5 || scope[4] != "aws4_request" || fields["SignedHeaders"] == "" || fields["Signature"] == "" {
		return Signature{}, false
	}
	return Signature{
		KeyID: scope[0], Date: scope[1], Region: scope[2], Service: scope[3],
		Headers: strings.Split(fields["SignedHeaders"], ";"), Value: fields["Signature"],
	}, true
}

// check gives nil if the request may come in. The order is the service's: first who
// asks, then for what, then when, and the signature last.
func (g *gate) check(r *Request) *Exception {
	authorization := r.Header.Get("Authorization")
	claimed, ok := claim(authorization)
	r.Signature = claimed
	if g.host != "" && r.Host != g.host {
		return InvalidSignature.With("The host %q is not one of this service.", r.Host)
	}
	switch {
	case g.unsigned:
		return nil
	case authorization == "":
		return MissingToken.With("Missing Authentication Token")
	case strings.HasPrefix(authorization, "Bearer "):
		return UnrecognizedClient.With("Invalid API Key format: Must start with pre-defined prefix")
	case !ok:
		return IncompleteSignature.With("The request signature does not conform to AWS standards.")
	}
	g.mu.Lock()
	credential, known := g.known[claimed.KeyID]
	now := time.Now().Add(g.skew).UTC()
	g.mu.Unlock()
	switch {
	case !known, r.Header.Get("X-Amz-Security-Token") != credential.Token:
		return UnrecognizedClient.With("The security token included in the request is invalid.")
	case credential.Expired:
		return ExpiredToken.With("The security token included in the request is expired")
	case claimed.Service != service:
		return InvalidSignature.With("Credential should be scoped to correct service: '%s'.", service)
	case claimed.Region != g.region:
		return InvalidSignature.With("Credential should be scoped to a valid region.")
	}
	if fault := timely(r, now); fault != nil {
		return fault
	}
	if fault := covered(r); fault != nil {
		return fault
	}
	if !hmac.Equal([]byte(sign(r, credential.Secret)), []byte(claimed.Value)) {
		return InvalidSignature.With("The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	if credential.Denied {
		return AccessDenied.With("User: arn:aws:iam::123456789012:user/fake is not authorized to perform: bedrock:InvokeModel "+
			"on resource: %s because no identity-based policy allows the bedrock:InvokeModel action", r.Model)
	}
	return nil
}

func timely(r *Request, now time.Time) *Exception {
	text := r.Header.Get("X-Amz-Date")
	signed, err := time.Parse(timestamp, text)
	switch {
	case err != nil, !strings.HasPrefix(text, r.Signature.Date):
		return IncompleteSignature.With("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: %q", text)
	case now.Sub(signed) > maxSkew:
		return InvalidSignature.With("Signature expired: %s is now earlier than %s (%s - 5 min.)",
			text, now.Add(-maxSkew).Format(timestamp), now.Format(timestamp))
	case signed.Sub(now) > maxSkew:
		return InvalidSignature.With("Signature not yet current: %s is still later than %s (%s + 5 min.)",
			text, now.Add(maxSkew).Format(timestamp), now.Format(timestamp))
	}
	return nil
}

// covered refuses a signature that leaves out what must be signed: the host, and
// all headers that speak to AWS.
func covered(r *Request) *Exception {
	if !slices.Contains(r.Signature.Headers, "host") {
		return InvalidSignature.With("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(r.Signature.Headers, name) {
			return InvalidSignature.With("There were headers present in the request which were not signed: %s", name)
		}
	}
	return nil
}

func sign(r *Request, secret string) string {
	claimed := r.Signature
	key := mac([]byte("AWS4"+secret), claimed.Date)
	for _, part := range []string{claimed.Region, claimed.Service, "aws4_request"} {
		key = mac(key, part)
	}
	scope := fmt.Sprintf("%s/%s/%s/aws4_request", claimed.Date, claimed.Region, claimed.Service)
	text := strings.Join([]string{algorithm, r.Header.Get("X-Amz-Date"), scope, hash(canonical(r))}, "\n")
	return hex.EncodeToString(mac(key, text))
}
