package sdk

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// BuildGo builds the Go main package in dir as a guest and writes it to output, with the
// Go toolchain that is on the path. The error holds the compiler's output.
func BuildGo(ctx context.Context, dir, output string) error {
	output, err := filepath.Abs(output)
	if err != nil {
		return fmt.Errorf("build guest %s: %w", dir, err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", output, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build guest %s: %w\n%s", dir, err, strings.TrimSpace(string(said)))
	}
	return nil
}
