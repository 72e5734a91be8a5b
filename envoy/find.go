package envoy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNotFound says that no usable Envoy is on this machine. Its text is the whole
// sentence for whoever started Postern; Fetch is the cure.
var ErrNotFound = errors.New("Envoy " + Version + " was not found: run `make setup`, or set ENVOY=/path/to/envoy") //nolint:staticcheck // Envoy is a name

// Search says where to look for the binary, in this order.
type Search struct {
	Explicit string // a path somebody chose; when set, nothing else is looked at
	Folder   string // where Fetch puts it; "" is DefaultFolder
	Path     string // directories as in PATH; an empty or relative one is passed over
}

// SearchFromEnvironment is the search of the postern command: the variable ENVOY,
// the default folder, the variable PATH.
func SearchFromEnvironment() Search {
	return Search{Explicit: os.Getenv("ENVOY"), Folder: DefaultFolder, Path: os.Getenv("PATH")}
}

// Find gives the absolute path of an Envoy of exactly Version. A chosen path that
// cannot be used is an error of one sentence; elsewhere a wrong version or a script
// is passed over, and ErrNotFound comes when nothing is left.
func Find(ctx context.Context, search Search) (string, error) {
	if search.Explicit != "" {
		return explicit(ctx, search.Explicit)
	}
	candidates := []string{fetchedPath(search.Folder)}
	for _, folder := range filepath.SplitList(search.Path) {
		if filepath.IsAbs(folder) {
			candidates = append(candidates, filepath.Join(folder, "envoy"))
		}
	}
	for _, candidate := range candidates {
		path, version, err := inspect(ctx, candidate)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err == nil && version == Version {
			return path, nil
		}
	}
	return "", ErrNotFound
}

// fetchedPath is where the binary lies in a folder after Fetch.
func fetchedPath(folder string) string {
	if folder == "" {
		folder = DefaultFolder
	}
	return filepath.Join(folder, "envoy-"+Version)
}

// inspect gives the absolute path of the binary behind a candidate, and its version.
func inspect(ctx context.Context, candidate string) (path, version string, err error) {
	if path, err = filepath.Abs(candidate); err != nil {
		return "", "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", "", err
	}
	if !info.Mode().IsRegular() {
		return "", "", errNotEnvoy
	}
	if path, err = resolve(path); err != nil {
		return "", "", err
	}
	version, err = versionOf(ctx, path)
	return path, version, err
}

// explicit checks the path in ENVOY; every way it can be wrong has its sentence.
func explicit(ctx context.Context, chosen string) (string, error) {
	path, version, err := inspect(ctx, chosen)
	switch {
	case err == nil && version == Version:
		return path, nil
	case err == nil:
		return "", fmt.Errorf("ENVOY=%s is Envoy %s, but Postern needs %s", chosen, version, Version)
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("ENVOY=%s: there is no such file", chosen)
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("ENVOY=%s may not be read and executed by this user", chosen)
	case errors.Is(err, errLauncher):
		return "", fmt.Errorf("ENVOY=%s %w: name the binary", chosen, errLauncher)
	case errors.Is(err, errNotEnvoy):
		return "", fmt.Errorf("ENVOY=%s %w that runs on %s", chosen, errNotEnvoy, platform())
	default:
		return "", fmt.Errorf("ENVOY=%s cannot be used: %w", chosen, err)
	}
}
