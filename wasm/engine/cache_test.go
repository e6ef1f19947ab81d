package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/wasmill/wasmill/raftstore/vfs"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

func TestCompileCache(t *testing.T) {
	dir := t.TempDir() + "/cache"
	compile := func() {
		t.Helper()
		e, err := New(Options{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close(context.Background())
		m, err := e.Compile(t.Context(), wasmtest.Identity())
		if err != nil {
			t.Fatal(err)
		}
		m.Release()
	}
	compile()
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("cache directory: %v, %v", info.Mode(), err)
	}
	files := cacheFiles(t, dir)
	if len(files) == 0 {
		t.Fatal("nothing was cached")
	}
	for _, f := range files { // a damaged entry is replaced
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 0xff
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	compile()
}

// What is wrong with the cache is not the module's fault.
func TestCompilesWithoutACacheThatFails(t *testing.T) {
	dir := t.TempDir()
	e, _ := newEngine(t, Options{CacheDir: dir})
	wasm := wasmtest.Identity()
	if err := os.WriteFile(fmt.Sprintf("%s/%x", dir, sha256.Sum256(wasm)), []byte("not a directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := process(newPool(t, e, wasm, PoolOptions{}), batch("a")); err != nil || got != "keep0" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestCacheKeepsToItsFileSystem: an injected file system sees the directory made and cleaned up, and where
// the operating system does not see it nothing is written beside it.
func TestCacheKeepsToItsFileSystem(t *testing.T) {
	var ops []string
	fsys := vfs.NewFaulty(vfs.OS(), func(op vfs.Op) error {
		ops = append(ops, string(op.Kind))
		return nil
	})
	dir := t.TempDir() + "/cache"
	e, _ := newEngine(t, Options{CacheDir: dir, FS: fsys})
	wasm := wasmtest.Identity()
	entry := fmt.Sprintf("%s/%x", dir, sha256.Sum256(wasm))
	if err := os.WriteFile(entry, []byte("not a directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	newPool(t, e, wasm, PoolOptions{})
	if want := []string{"mkdir-all", "stat", "remove-all"}; !slices.Equal(ops, want) {
		t.Errorf("operations %q, want %q", ops, want)
	}
	if _, err := os.Stat(entry); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the damaged entry is still there: %v", err)
	}

	dir = t.TempDir() + "/cache"
	if err := os.Mkdir(dir, 0o755); err != nil { // another directory of the same name
		t.Fatal(err)
	}
	memory := vfs.NewMem()
	e, _ = newEngine(t, Options{CacheDir: dir, FS: memory})
	newPool(t, e, wasm, PoolOptions{})
	if files := cacheFiles(t, dir); len(files) > 0 {
		t.Errorf("written past the file system: %q", files)
	}
	refused := errors.New("refused")
	if _, err := New(Options{CacheDir: dir, FS: vfs.NewFaulty(memory, vfs.FailAt(1, refused))}); !errors.Is(err, refused) {
		t.Errorf("New when the directory cannot be made: %v", err)
	}
}

func cacheFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	var walk func(string)
	walk = func(d string) {
		entries, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := d + "/" + e.Name(); e.IsDir() {
				walk(name)
			} else {
				files = append(files, name)
			}
		}
	}
	walk(dir)
	return files
}
