package access

import (
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-proxy/postern/fault"
)

// Claims is what a verified key says about its bearer.
type Claims struct {
	Key     string // the key's id
	Tenant  string
	User    string // empty: the key stands for itself
	Tier    string
	Issued  time.Time
	Expires time.Time
}

// claims is the payload of the JWT: these seven and nothing else.
type claims struct {
	Issuer  string           `json:"iss"`
	ID      string           `json:"jti"`
	Subject string           `json:"sub"`
	Tenant  string           `json:"tenant"`
	Tier    string           `json:"tier"`
	Issued  *jwt.NumericDate `json:"iat"`
	Expires *jwt.NumericDate `json:"exp"`
}

var _ jwt.Claims = (*claims)(nil)

func claimsOf(key Key) *claims {
	subject := key.User
	if subject == "" {
		subject = key.ID
	}
	return &claims{
		Issuer: Issuer, ID: key.ID, Subject: subject, Tenant: key.Tenant, Tier: key.Tier,
		Issued: jwt.NewNumericDate(key.Issued), Expires: jwt.NewNumericDate(key.Expires),
	}
}

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Expires, nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.Issued, nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil } //nolint:nilnil // the JWT library's way to say "none"
func (c *claims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return c.Subject, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }

// maxToken is several times the longest key that Mint makes: longer is noise.
const maxToken = 4096

// newParser is a parser that only checks form and signature; the claims are judged
// in Verify, which is told the time.
func newParser() *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation(),
	)
}

var errMismatch = errors.New("the token is not one of this gate's keys")

// Verify checks a key as Envoy does: form, signature, issuer and expiry. Every
// refusal is fault.InvalidKey with the same message, and no part of the token is in
// the error.
func (s *Signer) Verify(token string, now time.Time) (Claims, error) {
	text, found := strings.CutPrefix(token, Prefix)
	if !found || len(text) > maxToken {
		return Claims{}, refused(errMismatch)
	}
	var c claims
	_, err := s.parser.ParseWithClaims(text, &c, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if kid == s.kid {
			return s.key.public, nil
		}
		if earlier, known := s.earlier[kid]; known {
			return earlier, nil
		}
		return nil, errMismatch
	})
	if err != nil {
		return Claims{}, refused(reason(err))
	}
	if err := c.judge(now); err != nil {
		return Claims{}, refused(err)
	}
	return c.public(), nil
}

// judge holds the payload against what Mint writes.
func (c *claims) judge(now time.Time) error {
	complete := c.ID != "" && c.Subject != "" && c.Tenant != "" && c.Tier != "" && c.Issued != nil && c.Expires != nil
	if c.Issuer != Issuer || !complete {
		return errMismatch
	}
	if now.Unix() > c.Expires.Add(Leeway).Unix() { // whole seconds, like Envoy
		return jwt.ErrTokenExpired
	}
	return nil
}

func (c *claims) public() Claims {
	out := Claims{
		Key: c.ID, Tenant: c.Tenant, User: c.Subject, Tier: c.Tier,
		Issued: c.Issued.UTC(), Expires: c.Expires.UTC(),
	}
	if c.Subject == c.ID {
		out.User = ""
	}
	return out
}

// reason is one of the JWT library's constant errors: its detailed ones quote
// parts of the token.
func reason(err error) error {
	for _, known := range []error{jwt.ErrTokenSignatureInvalid, jwt.ErrTokenMalformed} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errMismatch
}

func refused(cause error) error { return fault.Wrap("access.Verify", fault.InvalidKey, cause) }
