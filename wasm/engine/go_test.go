package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/wasm/abi"
)

// buildGo builds the Go guest in testdata.
func buildGo(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", file, "./testdata/goguest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func TestGoGuest(t *testing.T) {
	var log bytes.Buffer
	e, m := newEngine(t, Options{MaxInstances: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	p := newPool(t, e, buildGo(t), PoolOptions{Limits: Limits{MemoryBytes: 32 << 20}})

	answer := func(value string) string {
		t.Helper()
		actions, err := p.Process(t.Context(), batch(value), &abi.Arena{}, nil)
		if err != nil || len(actions) != 1 {
			t.Fatalf("%s: %d actions, %v", value, len(actions), err)
		}
		return string(actions[0].Record.Value)
	}
	for value, want := range map[string]string{
		"time":   "1970-01-01T00:00:01Z", // record time
		"memory": "25165824",             // three quarters of the limit
		"files":  "true",                 // an error
		"sleep":  "",                     // kept, at once
	} {
		if got := answer(value); got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
	answer("print")
	if s := log.String(); !strings.Contains(s, `module=guest@1 line="hello from Go"`) {
		t.Errorf("the log says %s", s)
	}
	for range 50 { // the collector keeps the guest within its limit
		large := strings.Repeat("x", 1<<20)
		if _, err := p.Process(t.Context(), batch(large, large), &abi.Arena{}, nil); err != nil {
			t.Fatalf("large batches: %v", err)
		}
	}
	if m.started != 1 {
		t.Errorf("%d instances were needed", m.started)
	}
	for value, want := range map[string]string{"panic": "boom", "exit": "code 4", "hoard": "out of memory"} {
		_, err := process(p, batch(value))
		var guest *GuestError
		if !errors.As(err, &guest) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", value, err)
		}
		if got, err := process(p, batch("a")); err != nil || got != "keep0" {
			t.Errorf("after %s: %q, %v", value, got, err)
		}
	}
}
