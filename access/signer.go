package access

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-proxy/postern/fault"
)

// Signer mints keys with one signing key, and verifies those of earlier ones too. Make one
// with Open.
type Signer struct {
	key     sealed
	kid     string
	earlier map[string]ed25519.PublicKey // by kid
	jwks    []byte
	parser  *jwt.Parser
}

// sealed is a private key that can only sign. The key lives in a closure, where
// neither fmt nor any other reflection finds it, whatever struct the Signer is in.
type sealed struct {
	public ed25519.PublicKey
	sign   func(message []byte) []byte
}

var _ crypto.Signer = sealed{}

func seal(private ed25519.PrivateKey) sealed {
	public, _ := private.Public().(ed25519.PublicKey) // which it always is
	return sealed{
		public: public,
		sign:   func(message []byte) []byte { return ed25519.Sign(private, message) },
	}
}

// Public is the public half.
func (s sealed) Public() crypto.PublicKey { return s.public }

// Sign signs the message itself, as Ed25519 does; the random source is not used.
func (s sealed) Sign(_ io.Reader, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.sign(message), nil
}

func newSigner(private ed25519.PrivateKey, earlier map[string]ed25519.PublicKey) *Signer {
	key := seal(private)
	kid := kidOf(key.public)
	delete(earlier, kid)
	s := &Signer{key: key, kid: kid, earlier: earlier, parser: newParser()}
	keys := []map[string]string{jwkOf(key.public, kid)}
	for _, kid := range s.Earlier() {
		keys = append(keys, jwkOf(earlier[kid], kid))
	}
	s.jwks, _ = json.Marshal(map[string]any{"keys": keys}) //nolint:errchkjson // strings only: cannot fail
	return s
}

func kidOf(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:8])
}

// jwkOf is a public key in the form of RFC 7517 and RFC 8037.
func jwkOf(public ed25519.PublicKey, kid string) map[string]string {
	return map[string]string{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid,
		"x": base64.RawURLEncoding.EncodeToString(public),
	}
}

// JWKS is the key set that verifies keys of this signer and of those before it: public
// halves only.
// The result is the caller's own.
func (s *Signer) JWKS() []byte { return append([]byte(nil), s.jwks...) }

// KeyID is the "kid" in the header of every key: 16 hex digits of the SHA-256 of
// the public key.
func (s *Signer) KeyID() string { return s.kid }

// Key is a minted key. Its fields may be shown and stored; the token only comes
// out by Token.
type Key struct {
	ID      string    `json:"id"`
	Tenant  string    `json:"tenant"`
	User    string    `json:"user,omitempty"`
	Tier    string    `json:"tier"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`

	// token is a closure for the same reason as sealed.sign.
	token func() string
}

// Token is the key as a client sends it, "pk_…"; empty for a Key that was not
// minted.
func (k Key) Token() string {
	if k.token == nil {
		return ""
	}
	return k.token()
}

// Mint makes a key for a grant, valid from now. A grant that does not hold is
// fault.InvalidRequest with the field in Param.
func (s *Signer) Mint(grant Grant, now time.Time) (Key, error) {
	if err := grant.Validate(); err != nil {
		return Key{}, err
	}
	grant = grant.filled()
	key := Key{
		ID: newID(), Tenant: grant.Tenant, User: grant.User, Tier: grant.Tier,
		Issued: now.UTC().Truncate(time.Second),
	}
	key.Expires = key.Issued.Add(grant.Expires.Truncate(time.Second))
	text, err := s.token(key)
	if err != nil {
		return Key{}, fault.Wrap("access.Mint", fault.Internal, err)
	}
	key.token = func() string { return text }
	return key, nil
}

// newID has 130 random bits, in lower case because it stands in logs and headers.
func newID() string { return KeyIDPrefix + strings.ToLower(rand.Text()) }

func (s *Signer) token(key Key) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claimsOf(key))
	token.Header["kid"] = s.kid
	text, err := token.SignedString(s.key)
	if err != nil {
		return "", err
	}
	return Prefix + text, nil
}

// String names the signer by its public key id.
func (s *Signer) String() string { return "access.Signer(" + s.kid + ")" }

// GoString is String: %#v shows no more.
func (s *Signer) GoString() string { return s.String() }

// LogValue is String, for slog.
func (s *Signer) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Format is String for every verb.
func (s *Signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// String names the key by its id.
func (k Key) String() string { return "access.Key(" + k.ID + ")" }

// GoString is String: %#v shows no more.
func (k Key) GoString() string { return k.String() }

// LogValue is the id, for slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Format is String for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }
