package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Validate has the binary judge a complete static configuration, in JSON. Nothing
// is bound or connected. A refusal is an error whose text is Envoy's reason in one
// line, without the configuration around it; other errors say that the check could
// not be made.
func Validate(ctx context.Context, binary string, config []byte) error {
	folder, err := os.MkdirTemp("", "postern-validate-") // mode 0700: config may hold secrets
	if err != nil {
		return fmt.Errorf("the check by Envoy needs a temporary folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	file := filepath.Join(folder, "config.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return fmt.Errorf("the check by Envoy needs a temporary file: %w", err)
	}
	//nolint:gosec // the binary is the one Find chose
	cmd := exec.CommandContext(ctx, binary, "--mode", "validate", "-c", file,
		"--disable-hot-restart", "--log-level", "error", "--log-format", "%l: %v")
	cmd.Env = environment(os.Environ())
	cmd.WaitDelay = time.Second
	printed, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("the check by Envoy could not be started: %w", err)
	}
	why := strings.ReplaceAll(reason(string(printed)), file, "the configuration")
	if why == "" {
		why = exit.String()
	}
	return &RefusedError{Reason: why}
}

// RefusedError says that Envoy does not accept a configuration.
type RefusedError struct {
	Reason string // in Envoy's words, one line
}

// Error gives the reason after a short introduction.
func (e *RefusedError) Error() string { return "Envoy refuses the configuration: " + e.Reason }
