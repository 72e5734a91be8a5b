package access_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/fault"
)

// Whatever arrives as a key, Verify neither panics nor accepts anything that this
// signer did not mint.
func FuzzVerify(f *testing.F) {
	signer, err := access.Open(f.TempDir())
	require.NoError(f, err)
	key, err := signer.Mint(access.Grant{Tenant: "acme", User: "ann"}, noon)
	require.NoError(f, err)
	good := key.Token()
	parts := strings.Split(good, ".")

	f.Add([]byte(good))
	f.Add([]byte("pk_"))
	f.Add([]byte("pk_.."))
	f.Add([]byte(parts[0] + "." + parts[1] + "."))
	f.Add([]byte("pk_eyJhbGciOiJub25lIn0.e30."))
	f.Add([]byte(parts[0] + ".e30." + parts[2]))
	f.Fuzz(func(t *testing.T, token []byte) {
		claims, err := signer.Verify(string(token), noon)
		if string(token) == good {
			require.NoError(t, err)
			return
		}
		require.Error(t, err)
		require.Equal(t, fault.InvalidKey, fault.KindOf(err))
		require.Empty(t, claims)
	})
}
