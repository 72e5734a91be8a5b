// Package access makes and checks the API keys of the gate. A key is a signed
// token: "pk_" and a compact JWT, signed with Ed25519. Whoever holds the public
// half (Envoy's jwt_authn, from JWKS) can check a key without asking anybody.
//
// The invariant: the private signing key never leaves its file and the one closure
// that signs with it, and nothing here prints a key or a token (fmt, JSON, slog,
// errors); only Key.Token hands one out.
//
// The signing key can be replaced (Rotate): what it signed stays good by its public half
// until that is taken away (Retire).
//
// A Signer and a Key do not change after they are made and are safe for concurrent
// use. Several processes may open the same data folder at once and agree on the
// signing key.
package access

import (
	"time"

	"github.com/postern-proxy/postern/wire"
)

const (
	// Issuer is the "iss" of every key.
	Issuer = wire.KeyIssuer
	// Prefix is what stands before the JWT, so that a leaked key can be recognised.
	Prefix = wire.KeyPrefix
	// KeyIDPrefix is what every key id ("jti") begins with.
	KeyIDPrefix = "key_"
	// DefaultTier is the tier of a key that names none.
	DefaultTier = "default"
)

const (
	// DefaultExpiry is how long a key lives that names no time.
	DefaultExpiry = 365 * 24 * time.Hour
	// MaxExpiry is the longest life of a key: a key that never ends is one that
	// nobody remembers.
	MaxExpiry = 10 * 365 * 24 * time.Hour
	// Leeway is how far two clocks may be apart. It is jwt_authn's default, so that
	// Go and Envoy judge a key alike.
	Leeway = time.Minute
)
