package ssm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/postern-proxy/postern/config/set"
)

// Copy is the last good set on the local disk, for a start while Parameter Store
// cannot be asked. The document and the values of its secrets lie in two files, both
// for this user alone, so that who wants no secret on the disk can have the one
// without the other.
type Copy struct {
	Folder  string // "" keeps nothing
	Secrets bool   // keep the values of ssm: secrets too
}

// kept is the document's file.
type kept struct {
	Postern int       `json:"postern"` // set.Format
	Prefix  string    `json:"prefix"`
	Env     string    `json:"environment"`
	Set     string    `json:"set"`
	Parts   []keyText `json:"parts"`
}

type keyText struct {
	Key  string `json:"key"`
	Text string `json:"text"`
}

// keptSecrets is the file with the values; it belongs to no set.
type keptSecrets struct {
	Postern int               `json:"postern"`
	Values  map[string]string `json:"values"` // by the parameter's whole name
}

func (c Copy) file(t set.Tree) string { return filepath.Join(c.Folder, t.Environment+".json") }
func (c Copy) secretsFile(t set.Tree) string {
	return filepath.Join(c.Folder, t.Environment+".secrets.json")
}

// save replaces the copy. secrets are by the parameters' whole names.
func (c Copy) save(t set.Tree, id string, parts []set.Part, secrets map[string]string) error {
	if c.Folder == "" {
		return nil
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return err
	}
	// Secrets first: a document without its secrets is worse than the reverse.
	if err := c.saveSecrets(t, secrets); err != nil {
		return err
	}
	k := kept{Postern: set.Format, Prefix: t.Prefix, Env: t.Environment, Set: id}
	for _, p := range parts {
		k.Parts = append(k.Parts, keyText{p.Key(), p.Text})
	}
	return writeFile(c.file(t), k)
}

func (c Copy) saveSecrets(t set.Tree, secrets map[string]string) error {
	if c.Secrets && len(secrets) > 0 {
		return writeFile(c.secretsFile(t), keptSecrets{Postern: set.Format, Values: secrets})
	}
	if err := os.Remove(c.secretsFile(t)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// load reads the copy. An fs.ErrNotExist says that there is none of this tree.
func (c Copy) load(t set.Tree) (id string, parts []set.Part, secrets map[string]string, err error) {
	if c.Folder == "" {
		return "", nil, nil, fs.ErrNotExist
	}
	var k kept
	if err := readFile(c.file(t), &k); err != nil {
		return "", nil, nil, err
	}
	if k.Prefix != t.Prefix || k.Env != t.Environment {
		return "", nil, nil, fs.ErrNotExist
	}
	for _, part := range k.Parts {
		p, err := set.FromKey(part.Key)
		if err != nil {
			return "", nil, nil, fmt.Errorf("%s: %w", c.file(t), err)
		}
		p.Text = part.Text
		parts = append(parts, p)
	}
	var s keptSecrets
	if err := readFile(c.secretsFile(t), &s); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil, err
	}
	return k.Set, parts, s.Values, nil
}

// writeFile replaces a file at once, so that a reader never finds half of it, and
// neither does who starts after a power cut.
func writeFile(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temporary.Write(text)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

// readFile reads what writeFile wrote. Its errors never show the content.
func readFile(name string, into any) error {
	text, err := os.ReadFile(name) //nolint:gosec // in the data folder
	if err != nil {
		return err
	}
	var head struct {
		Postern int `json:"postern"`
	}
	if json.Unmarshal(text, &head) != nil || head.Postern < 1 {
		return fmt.Errorf("%s: is no copy of a set: remove it", name)
	}
	if head.Postern > set.Format {
		return set.NewerError{Parameter: name, Format: head.Postern}
	}
	if json.Unmarshal(text, into) != nil {
		return fmt.Errorf("%s: is no copy of a set: remove it", name)
	}
	return nil
}

// keepSecrets keeps values alone, of a document that lies elsewhere.
func (c Copy) keepSecrets(t set.Tree, secrets map[string]string) error {
	if c.Folder == "" {
		return nil
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return err
	}
	return c.saveSecrets(t, secrets)
}

// readSecrets reads them.
func readSecrets(c Copy, t set.Tree, into *map[string]string) error {
	if c.Folder == "" {
		return nil
	}
	var s keptSecrets
	err := readFile(c.secretsFile(t), &s)
	*into = s.Values
	return err
}
