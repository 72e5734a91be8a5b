package access_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/fault"
)

var noon = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) *access.Signer {
	t.Helper()
	signer, err := access.Open(t.TempDir())
	require.NoError(t, err)
	return signer
}

func mint(t *testing.T, signer *access.Signer, grant access.Grant) access.Key {
	t.Helper()
	key, err := signer.Mint(grant, noon)
	require.NoError(t, err)
	return key
}

func TestAMintedKeySaysWhatItWasMintedFor(t *testing.T) {
	signer := open(t)
	key := mint(t, signer, access.Grant{Tenant: "acme corp", User: "ann@acme.example", Tier: "gold", Expires: time.Hour})
	claims, err := signer.Verify(key.Token(), noon)
	require.NoError(t, err)
	assert.Equal(t, access.Claims{
		Key: key.ID, Tenant: "acme corp", User: "ann@acme.example", Tier: "gold",
		Issued: noon, Expires: noon.Add(time.Hour),
	}, claims)
	assert.Equal(t, claims.Expires, key.Expires)
	assert.Regexp(t, `^key_[a-z2-7]{26}$`, key.ID)
	assert.Regexp(t, `^pk_[\w-]+\.[\w-]+\.[\w-]+$`, key.Token())
}

func TestDefaultsOfAGrant(t *testing.T) {
	signer := open(t)
	key := mint(t, signer, access.Grant{Tenant: "acme"})
	claims, err := signer.Verify(key.Token(), noon)
	require.NoError(t, err)
	assert.Empty(t, claims.User)
	assert.Equal(t, "default", claims.Tier)
	assert.Equal(t, noon.Add(365*24*time.Hour), claims.Expires)
	assert.NotEqual(t, key.ID, mint(t, signer, access.Grant{Tenant: "acme"}).ID)
}

// The wire form is read here by hand, as any other verifier would: header, payload
// and signature, with nothing but the public key set.
func TestTheWireFormIsWhatEnvoyIsToldToExpect(t *testing.T) {
	signer := open(t)
	key := mint(t, signer, access.Grant{Tenant: "acme"})

	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(signer.JWKS(), &set))
	require.Len(t, set.Keys, 1)
	public, err := base64.RawURLEncoding.DecodeString(set.Keys[0]["x"])
	require.NoError(t, err)
	delete(set.Keys[0], "x")
	assert.Equal(t, map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": signer.KeyID()}, set.Keys[0])
	assert.Regexp(t, `^[0-9a-f]{16}$`, signer.KeyID())

	parts := strings.Split(strings.TrimPrefix(key.Token(), "pk_"), ".")
	require.Len(t, parts, 3)
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	assert.True(t, ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), signature))
	assert.JSONEq(t, `{"alg":"EdDSA","typ":"JWT","kid":"`+signer.KeyID()+`"}`, decode(t, parts[0]))
	assert.JSONEq(t, fmt.Sprintf(`{"iss":"postern","jti":%q,"sub":%q,"tenant":"acme","tier":"default","iat":%d,"exp":%d}`,
		key.ID, key.ID, noon.Unix(), noon.Add(access.DefaultExpiry).Unix()), decode(t, parts[1]))
}

func decode(t *testing.T, part string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	require.NoError(t, err)
	return string(text)
}

func TestAGrantThatDoesNotHoldNamesItsField(t *testing.T) {
	signer := open(t)
	for name, test := range map[string]struct {
		grant access.Grant
		param string
	}{
		"no tenant":             {access.Grant{}, "tenant"},
		"tenant too long":       {access.Grant{Tenant: strings.Repeat("a", 129)}, "tenant"},
		"tenant with line feed": {access.Grant{Tenant: "a\nb"}, "tenant"},
		"tenant with NUL":       {access.Grant{Tenant: "a\x00"}, "tenant"},
		"tenant with DEL":       {access.Grant{Tenant: "a\x7f"}, "tenant"},
		"tenant with umlaut":    {access.Grant{Tenant: "bücher"}, "tenant"},
		"tenant with quote":     {access.Grant{Tenant: `a"b`}, "tenant"},
		"tenant with comma":     {access.Grant{Tenant: "a,b"}, "tenant"},
		"tenant with space":     {access.Grant{Tenant: "acme "}, "tenant"},
		"user with space":       {access.Grant{Tenant: "a", User: " bob"}, "user"},
		"user like a key":       {access.Grant{Tenant: "a", User: "key_abc"}, "user"},
		"tier with slash":       {access.Grant{Tenant: "a", Tier: "a/b"}, "tier"},
		"tier in capitals":      {access.Grant{Tenant: "a", Tier: "Gold"}, "tier"},
		"tier too long":         {access.Grant{Tenant: "a", Tier: strings.Repeat("a", 64)}, "tier"},
		"expiry in the past":    {access.Grant{Tenant: "a", Expires: -time.Hour}, "expires"},
		"expiry under a second": {access.Grant{Tenant: "a", Expires: time.Millisecond}, "expires"},
		"expiry over ten years": {access.Grant{Tenant: "a", Expires: access.MaxExpiry + time.Second}, "expires"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := signer.Mint(test.grant, noon)
			require.Error(t, err)
			assert.Empty(t, key.Token())
			assert.Equal(t, fault.InvalidRequest, fault.KindOf(err))
			var e *fault.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, test.param, e.Param)
			assert.NotContains(t, e.Message, "\n")
		})
	}
	for _, good := range []access.Grant{
		{Tenant: strings.Repeat("a", 128), User: strings.Repeat("b", 128), Tier: strings.Repeat("c", 63), Expires: access.MaxExpiry},
		{Tenant: "a", User: `CORP\bob (x); y=1`, Tier: "free-2.0_b", Expires: time.Second},
	} {
		_, err := signer.Mint(good, noon)
		assert.NoError(t, err)
	}
}

// sign makes a token with any header, payload and key: what a forger, or an older
// version, might send.
func sign(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, payload jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, payload)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return access.Prefix + text
}

func TestVerifyRefuses(t *testing.T) {
	signer, other := open(t), open(t)
	key := mint(t, signer, access.Grant{Tenant: "acme", Expires: time.Hour})
	good := key.Token()
	parts := strings.Split(good, ".")
	tampered := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(decode(t, parts[1]), "acme", "evil", 1)))
	kid := map[string]any{"kid": signer.KeyID()}
	payload := jwt.MapClaims{"iss": "postern", "jti": "key_x", "sub": "u", "tenant": "t", "tier": "default", "iat": 1, "exp": noon.Add(time.Hour).Unix()}

	for name, token := range map[string]string{
		"empty":                  "",
		"prefix alone":           "pk_",
		"without prefix":         strings.TrimPrefix(good, "pk_"),
		"prefix in capitals":     "PK_" + strings.TrimPrefix(good, "pk_"),
		"doubled prefix":         "pk_" + good,
		"with bearer":            "Bearer " + good,
		"trailing space":         good + " ",
		"no signature":           parts[0] + "." + parts[1] + ".",
		"two parts":              parts[0] + "." + parts[1],
		"four parts":             good + ".x",
		"tampered payload":       parts[0] + "." + tampered + "." + parts[2],
		"padded base64":          good + "=",
		"another signing key":    mint(t, other, access.Grant{Tenant: "acme"}).Token(),
		"alg none":               sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid, payload),
		"HMAC by the public key": sign(t, jwt.SigningMethodHS256, signer.JWKS(), kid, payload),
		"very long":              "pk_" + strings.Repeat("a", 1<<20),
		"bytes":                  "pk_\x00\xff.\x00.\x00",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signer.Verify(token, noon)
			requireRefused(t, err, token)
		})
	}
	_, err := signer.Verify(good, noon)
	require.NoError(t, err, "or the refusals above prove nothing")
}

func requireRefused(t *testing.T, err error, token string) {
	t.Helper()
	require.Error(t, err)
	assert.Equal(t, fault.InvalidKey, fault.KindOf(err))
	assert.Contains(t, string(fault.OpenAI(err)), fault.InvalidKey.Sentence())
	if len(token) > len("Bearer ") {
		assert.NotContains(t, err.Error(), token)
	}
	for _, part := range strings.FieldsFunc(token, func(r rune) bool { return r == '.' || r == ' ' }) {
		if len(part) > 10 {
			assert.NotContains(t, err.Error(), part)
		}
	}
}

func TestAKeyEndsAtItsExpiry(t *testing.T) {
	signer := open(t)
	token := mint(t, signer, access.Grant{Tenant: "acme", Expires: time.Hour}).Token()
	_, err := signer.Verify(token, noon.Add(time.Hour+access.Leeway))
	require.NoError(t, err)
	_, err = signer.Verify(token, noon.Add(time.Hour+access.Leeway+time.Second))
	requireRefused(t, err, token)
	assert.ErrorIs(t, err, jwt.ErrTokenExpired)
}

func TestNothingPrintsAKey(t *testing.T) {
	signer := open(t)
	key := mint(t, signer, access.Grant{Tenant: "acme"})
	secrets := []string{key.Token(), strings.Split(key.Token(), ".")[2]}
	type holder struct {
		signer  access.Signer // unexported, where fmt calls no method
		key     access.Key
		Pointer *access.Key
	}
	things := []any{signer, *signer, key, &key, holder{*signer, key, &key}, &holder{*signer, key, &key}, []access.Key{key}}

	var out bytes.Buffer
	for _, thing := range things {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			_, _ = fmt.Fprintf(&out, verb+"\n", thing)
		}
		text, err := json.Marshal(thing)
		require.NoError(t, err)
		out.Write(text)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "thing", thing)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "thing", thing)
	}
	out.WriteString(errors.Join(fmt.Errorf("%v", signer), fmt.Errorf("%v", key)).Error())
	for _, secret := range secrets {
		assert.NotContains(t, out.String(), secret)
		assert.NotContains(t, out.String(), fmt.Sprintf("%x", secret))
	}
	assert.Contains(t, out.String(), key.ID, "the id is what logs are for")
	assert.Contains(t, out.String(), signer.KeyID())
}
