package conformance

import (
	"os"
	"os/exec"
	"testing"
)

// Unraced runs the tests of the caller's package that match run in a test binary without the
// race detector, and fails when they do. Compiling a 2 MB Go guest takes half a second
// without the detector and ten with it, and such tests have nothing to race: a package keeps
// them behind the build constraint !race, and calls this under race.
func Unraced(t *testing.T, run string) {
	t.Helper()
	cmd := exec.Command("go", "test", "-race=false", "-count=1", "-v", "-run", run, ".")
	cmd.Env = os.Environ()
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("without the race detector: %v\n%s", err, said)
	}
	t.Logf("%s", said)
}
