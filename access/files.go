package access

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Where keys lie under a data folder.
const (
	folder          = "keys"
	signingFile     = "signing.pem"
	developmentFile = "development.key"
)

const pemType = "PRIVATE KEY" // PKCS#8

// maxFile bounds what is read as a key: both files are far smaller.
const maxFile = 64 << 10

// Open loads the signing keys of a data folder: <data>/keys/signing.pem, which it makes if
// there is none (PKCS#8 in PEM, mode 0600 in a folder of mode 0700), and the public halves
// of those before it, which Rotate keeps. Two processes that start at once end up with the
// same key. A file that other users can read is refused. Errors are one sentence for the
// operator.
func Open(data string) (*Signer, error) {
	s, err := Load(data)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(signingPath(data)); err == nil {
			s, err = Load(data)
		}
	}
	return s, err
}

// Load is Open where the signing key has to be there.
func Load(data string) (*Signer, error) {
	// In this order: what Rotate replaces it has put among the earlier ones before.
	private, err := load(signingPath(data))
	if err != nil {
		return nil, err
	}
	earlier, err := loadEarlier(data)
	if err != nil {
		return nil, err
	}
	return newSigner(private, earlier), nil
}

func load(path string) (ed25519.PrivateKey, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType {
		return nil, fmt.Errorf("%s does not hold a PEM block %q", path, pemType)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil { // the cause may quote the key
		return nil, fmt.Errorf("%s does not hold a PKCS#8 private key", path)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s does not hold an Ed25519 key", path)
	}
	return private, nil
}

// create makes a signing key unless another process was faster, which is as good.
func create(path string) error {
	if err := ensureFolder(filepath.Dir(path)); err != nil {
		return err
	}
	text, err := newSigningKey()
	if err != nil {
		return err
	}
	return writePrivate(path, text, linkNew)
}

// newSigningKey is one, in PEM.
func newSigningKey() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("a signing key could not be made: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("a signing key could not be made: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// linkNew gives a complete file its final name and, unlike rename, never replaces
// one that is there: so the first of two processes wins and both load its key.
func linkNew(temporary, path string) error {
	if err := os.Link(temporary, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// ensureFolder makes the folder for keys. One that is there and open to others is
// refused: whoever can write to it could plant a signing key.
func ensureFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("the folder for keys could not be made: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("the folder for keys cannot be used: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("the folder %s is open to other users: run chmod 700 on it", path)
	}
	return nil
}

// readPrivate reads a file that only its owner may read. Mode and contents are
// those of one open file, so that swapping it in between gains nothing.
func readPrivate(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // a fixed name in the operator's own data folder
	if err != nil {
		return nil, fmt.Errorf("a key file cannot be read: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("a key file cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by other users: run chmod 600 on it, or delete it to get a new one", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, fmt.Errorf("a key file cannot be read: %w", err)
	}
	return text, nil
}

// writePrivate writes a complete file beside path, mode 0600, and lets place give
// it its name, so that nobody ever reads half a key.
func writePrivate(path string, text []byte, place func(temporary, path string) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("a key file could not be written: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // gone already after a rename
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = place(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("a key file could not be written: %w", err)
	}
	return nil
}
