package access

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// renewal is how long before its end the development key is replaced, so that
// nobody's afternoon ends with a 401.
const renewal = 7 * 24 * time.Hour

// DevelopmentGrant is what the generated development key is for.
func DevelopmentGrant() Grant {
	return Grant{Tenant: "development", User: "developer", Tier: DefaultTier, Expires: DefaultExpiry}
}

// DevelopmentPath is where Development keeps its key under a data folder.
func DevelopmentPath(data string) string { return filepath.Join(data, folder, developmentFile) }

// Development is the token of the development key of a data folder. The key lies in
// DevelopmentPath, mode 0600, and is minted anew if it is missing, malformed, signed
// by a signing key that is not verified (any more), for another grant, or within a week of
// its end. A file that other users can read is refused. Errors are one sentence for the operator.
func (s *Signer) Development(data string, now time.Time) (string, error) {
	path := DevelopmentPath(data)
	text, err := readPrivate(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if s.goodForDevelopment(token, now) {
		return token, nil
	}
	key, err := s.Mint(DevelopmentGrant(), now)
	if err != nil {
		return "", err
	}
	if err := ensureFolder(filepath.Dir(path)); err != nil {
		return "", err
	}
	if err := writePrivate(path, []byte(key.Token()+"\n"), os.Rename); err != nil {
		return "", err
	}
	return key.Token(), nil
}

func (s *Signer) goodForDevelopment(token string, now time.Time) bool {
	claims, err := s.Verify(token, now.Add(renewal))
	grant := DevelopmentGrant()
	return err == nil && claims.Tenant == grant.Tenant && claims.User == grant.User && claims.Tier == grant.Tier
}
