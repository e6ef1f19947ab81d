//go:build unix

package harness

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// once builds the binary at the first call and remembers the outcome for this test process.
var once = sync.OnceValues(build)

// Binary is the path of the wasmill binary, built from the tree that the test belongs to. Under the
// race detector the broker has it too.
func Binary() (string, error) { return once() }

// workDir is where this test process keeps its binary; Main removes it.
var workDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "wasmill-test-") })

func build() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir, err := workDir()
	if err != nil {
		return "", fmt.Errorf("build wasmill: %w", err)
	}
	if err := readSources(root); err != nil {
		return "", fmt.Errorf("build wasmill: %w", err)
	}
	bin := filepath.Join(dir, "wasmill")
	args := []string{"build", "-o", bin}
	if Raced {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/wasmill")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build wasmill: %w\n%s", err, out)
	}
	return bin, nil
}

// sources are what the binary is built from.
var sources = []string{"go.mod", "benchmarks", "cmd", "core", "raftstore", "sdk", "wasm"}

// readSources looks at every folder of the sources. The go command keeps the result of a test until
// something that the test binary was built from, or has opened, changes. That another process builds
// the broker is hidden from it: without this a changed broker would be reported as tested.
func readSources(root string) error {
	for _, name := range sources {
		err := filepath.WalkDir(filepath.Join(root, name), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			return err
		}
	}
	return nil
}

// errNoModule says that the working directory is in no Go module.
var errNoModule = errors.New("no go.mod in the working directory or above it")

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errNoModule
		}
		dir = parent
	}
}

// Runner is the part of testing.M that Main needs.
type Runner interface{ Run() int }

// Main runs a package's tests and returns the exit code: a failure too when a test left a process
// behind.
func Main(m Runner, w io.Writer) int {
	code := m.Run()
	code = max(code, reap(w))
	if dir, err := workDir(); err == nil {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(w, err)
			code = max(code, 1)
		}
	}
	return code
}

// reap kills the processes that tests left behind, names them on w, and returns 1 if there were any.
func reap(w io.Writer) (code int) {
	for _, p := range processes.all() {
		fmt.Fprintf(w, "a test left process %d behind: %v\n", p.Pid(), p.cmd.Args)
		p.destroy()
		code = 1
	}
	return code
}
