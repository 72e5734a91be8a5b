package access

import (
	"regexp"
	"strings"
	"time"

	"github.com/postern-proxy/postern/fault"
)

// Grant is what a key is minted for.
type Grant struct {
	Tenant  string        // who pays: 1 to 128 printable ASCII characters
	User    string        // who calls, in the same form; empty: the key stands for itself
	Tier    string        // which limits apply; empty: DefaultTier
	Expires time.Duration // whole seconds, at most MaxExpiry; 0: DefaultExpiry
}

const maxName = 128

// tierName is what configuration accepts as the name of a tier.
var tierName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,62}$`)

// filled is the grant with its defaults.
func (g Grant) filled() Grant {
	if g.Tier == "" {
		g.Tier = DefaultTier
	}
	if g.Expires == 0 {
		g.Expires = DefaultExpiry
	}
	return g
}

// Validate says what is wrong with the grant, as fault.InvalidRequest with the
// field's name in Param. Defaults count as filled in.
func (g Grant) Validate() error {
	g = g.filled()
	if err := validName("tenant", g.Tenant); err != nil {
		return err
	}
	if g.User != "" {
		if err := validName("user", g.User); err != nil {
			return err
		}
		// Where no user is named the key's id takes that place; a user must not
		// be able to look like somebody else's key.
		if strings.HasPrefix(g.User, KeyIDPrefix) {
			return invalid("user", "The user must not begin with %s.", KeyIDPrefix)
		}
	}
	if !tierName.MatchString(g.Tier) {
		return invalid("tier", "The tier must be 1 to 63 small letters, digits, dots, dashes or underscores, and begin with a letter or digit.")
	}
	if g.Expires < time.Second || g.Expires > MaxExpiry {
		return invalid("expires", "The expiry must be between one second and ten years from now.")
	}
	return nil
}

// validName holds what may travel as a header value and be read back unchanged:
// no control characters, nothing that quotes or separates, no space at the ends.
func validName(field, value string) error {
	if value == "" || len(value) > maxName {
		return invalid(field, "The %s must have 1 to %d characters.", field, maxName)
	}
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' || strings.IndexByte(`"',`, c) >= 0 {
			return invalid(field, "The %s must be printable ASCII without quotes and commas.", field)
		}
	}
	if value != strings.TrimSpace(value) {
		return invalid(field, "The %s must not begin or end with a space.", field)
	}
	return nil
}

func invalid(field, format string, args ...any) error {
	err := fault.New("access.Mint", fault.InvalidRequest, format, args...)
	err.Param = field
	return err
}
