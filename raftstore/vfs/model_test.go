package vfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// describe lists a tree with all contents.
func describe(fsys vfs.FS, dir string) string {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return class(err)
	}
	var b strings.Builder
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			fmt.Fprintf(&b, "%s{%s}", e.Name(), describe(fsys, name))
			continue
		}
		f, err := fsys.OpenReadOnly(name)
		if err != nil {
			return class(err)
		}
		size, _ := f.Size()
		content, err := io.ReadAll(io.NewSectionReader(f, 0, size))
		fmt.Fprintf(&b, "%s=%x %s;", e.Name(), content, class(errors.Join(err, f.Close())))
	}
	return b.String()
}

// class is what callers may tell of an error.
func class(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, fs.ErrNotExist):
		return "not there"
	case errors.Is(err, fs.ErrExist):
		return "there already"
	}
	return "refused"
}

// action is one random operation on a tree below root.
func action(t *rapid.T) func(fsys vfs.FS, root string) string {
	names := rapid.SampledFrom([]string{"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "a/x"})
	name, other := names.Draw(t, "name"), names.Draw(t, "other")
	off, n := rapid.Int64Range(0, 9000).Draw(t, "offset"), rapid.IntRange(0, 5000).Draw(t, "length")
	fill := rapid.SampledFrom([]rune("abc")).Draw(t, "fill")
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	return func(fsys vfs.FS, root string) string {
		full := path.Join(root, name)
		switch kind {
		case 0:
			return class(fsys.MkdirAll(full))
		case 1:
			return class(fsys.Remove(full))
		case 2:
			return class(fsys.Rename(full, path.Join(root, other)))
		case 3:
			return class(fsys.RemoveAll(full))
		case 4, 5:
			f, err := fsys.Create(full)
			if err == nil {
				err = f.Close()
			}
			return class(err)
		}
		f, err := fsys.Open(full)
		if err != nil {
			return class(err)
		}
		defer f.Close()
		switch kind {
		case 6:
			return class(f.Truncate(off))
		case 7:
			return class(f.Allocate(off))
		}
		wrote, err := f.WriteAt([]byte(strings.Repeat(string(fill), n)), off)
		return fmt.Sprint(wrote, class(err))
	}
}

// TestMemBehavesAsOS compares the two after every random operation, and then checks that a crash after
// syncing everything changes nothing.
func TestMemBehavesAsOS(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		root, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		m := vfs.NewMem()
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			act := action(t)
			if got, want := act(m, "/"), act(vfs.OS(), root); got != want {
				t.Fatalf("Mem says %s, OS %s", got, want)
			}
			if got, want := describe(m, "/"), describe(vfs.OS(), root); got != want {
				t.Fatalf("Mem holds %.500s, OS %.500s", got, want)
			}
		}
		before := describe(m, "/")
		syncTree(t, m, "/")
		seed := rapid.Int64().Draw(t, "seed")
		if after := describe(m.CrashClone(rand.New(rand.NewSource(seed))), "/"); after != before {
			t.Fatalf("synced was %.500s, the crash left %.500s", before, after)
		}
	})
}

func syncTree(t *rapid.T, m *vfs.Mem, dir string) {
	entries, err := m.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			syncTree(t, m, name)
			continue
		}
		f, err := m.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.SyncData(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.SyncDir(dir); err != nil {
		t.Fatal(err)
	}
}
