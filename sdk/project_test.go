//go:build !race

package sdk_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wasmill/wasmill/sdk"
	"github.com/wasmill/wasmill/sdk/conformance"
)

// TestGoProjectBuildsOffline builds a new project outside of this repository, without a
// module proxy, runs its tests, and takes records through the guest.
func TestGoProjectBuildsOffline(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOWORK", "off")
	dir := newProject(t, "go")

	test := exec.Command("go", "test", "./...")
	test.Dir = dir
	if said, err := test.CombinedOutput(); err != nil {
		t.Fatalf("go test: %v\n%s", err, said)
	}
	guest := filepath.Join(dir, "my-transform.wasm")
	if err := sdk.BuildGo(context.Background(), dir, guest); err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(guest)
	if err != nil {
		t.Fatal(err)
	}
	conformance.Project(t, wasm)
}
