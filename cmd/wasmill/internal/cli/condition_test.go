package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// TestIfVersion changes what has versions while it is, and after it was, what the command expects.
func TestIfVersion(t *testing.T) {
	from, to := topic(t), topic(t)
	file := filepath.Join(t.TempDir(), "m.wasm")
	if err := os.WriteFile(file, wasmtest.Identity(), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "", "module", "push", "if-version", file)
	for _, c := range []struct{ kind, set, remove, missing string }{
		{"pipeline", "pipeline set " + from, "pipeline delete " + from, "pipeline get " + from},
		{"view", "view create if-version-view -t " + from, "view delete if-version-view", "view get if-version-view"},
		{"derivation", "derive create if-version-copy -t " + from + " -o " + to, "derive delete if-version-copy", "derive get if-version-copy"},
	} {
		t.Run(c.kind, func(t *testing.T) {
			run := func(line string) result { return at(t, server, "", strings.Fields(line)...) }
			refused := func(line string) {
				t.Helper()
				if r := run(line); r.code != ExitRefused || !strings.Contains(r.err, "VERSION_CONFLICT") || !strings.Contains(r.err, "--if-version") {
					t.Errorf("%s: exit %d\n%s%s", line, r.code, r.out, r.err)
				}
			}
			set, other := c.set+" -s if-version@1", c.set+" -s if-version@1 -s if-version@1"
			refused(set + " --if-version 1")
			must(t, "", strings.Fields(set+" --if-version 0")...)
			refused(other + " --if-version 0")
			if out := must(t, "", strings.Fields(other+" --if-version 1")...); !strings.Contains(strings.Join(strings.Fields(out), " "), "Version 2 ") {
				t.Errorf("set to\n%s", out)
			}
			refused(c.remove + " --if-version 1")
			for _, bad := range []string{" --if-version 0", " more --if-version 2"} {
				if r := run(c.remove + bad); r.code != ExitUsage {
					t.Errorf("%s%s: exit %d\n%s", c.remove, bad, r.code, r.err)
				}
			}
			must(t, "", strings.Fields(c.remove+" --if-version 2")...)
			if r := run(c.missing); r.code != ExitNotFound || !strings.Contains(r.err, "wasmill "+strings.Fields(c.set)[0]) {
				t.Errorf("%s: exit %d\n%s", c.missing, r.code, r.err)
			}
		})
	}
}
