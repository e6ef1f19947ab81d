package vfstest

import (
	"errors"
	"io/fs"
	"path"
	"testing"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

func testDirectories(t *testing.T, fsys vfs.FS, root string) {
	deep := path.Join(root, "x", "y", "z")
	must(t, fsys.MkdirAll(deep))
	must(t, fsys.MkdirAll(deep))
	st, err := fsys.Stat(deep)
	must(t, err)
	if !st.IsDir() || st.Name() != "z" {
		t.Errorf("stat: name %q, directory %v", st.Name(), st.IsDir())
	}
	create(t, fsys, path.Join(deep, "b"), "")
	create(t, fsys, path.Join(deep, "a"), "")
	must(t, fsys.MkdirAll(path.Join(deep, "c")))
	if got := names(t, fsys, deep); got != "a b c/" {
		t.Errorf("directory lists %q", got)
	}
	must(t, fsys.SyncDir(deep))
	wantIs(t, "sync of a missing directory", fsys.SyncDir(path.Join(root, "no")), fs.ErrNotExist)
	_, err = fsys.ReadDir(path.Join(root, "no"))
	wantIs(t, "listing a missing directory", err, fs.ErrNotExist)
	_, err = fsys.Stat(path.Join(root, "no"))
	wantIs(t, "stat of a missing file", err, fs.ErrNotExist)
	if err := fsys.MkdirAll(path.Join(deep, "a", "below")); err == nil {
		t.Error("a directory was made below a file")
	}
}

func testMkdirAllSynced(t *testing.T, fsys vfs.FS, root string) {
	deep := path.Join(root, "x", "y")
	must(t, vfs.MkdirAllSynced(fsys, deep))
	must(t, vfs.MkdirAllSynced(fsys, deep))
	if got := names(t, fsys, path.Join(root, "x")); got != "y/" {
		t.Errorf("directory lists %q", got)
	}
}

func testRename(t *testing.T, fsys vfs.FS, root string) {
	a, b := path.Join(root, "a"), path.Join(root, "d", "b")
	must(t, fsys.MkdirAll(path.Join(root, "d")))
	create(t, fsys, a, "new")
	create(t, fsys, b, "old")
	must(t, fsys.Rename(a, b))
	if got := names(t, fsys, root); got != "d/" {
		t.Errorf("source directory lists %q", got)
	}
	f, err := fsys.Open(b)
	must(t, err)
	defer f.Close()
	if got := content(t, f); got != "new" {
		t.Errorf("target holds %q", got)
	}
	wantIs(t, "rename of a missing file", fsys.Rename(a, b), fs.ErrNotExist)
	must(t, fsys.Rename(path.Join(root, "d"), path.Join(root, "e")))
	if got := names(t, fsys, path.Join(root, "e")); got != "b" {
		t.Errorf("renamed directory lists %q", got)
	}
	if fsys.Rename(path.Join(root, "e", "b"), root) == nil {
		t.Error("a file replaced a directory")
	}
	if fsys.Rename(path.Join(root, "e"), path.Join(root, "e", "f")) == nil {
		t.Error("a directory moved below itself")
	}
}

func testRemove(t *testing.T, fsys vfs.FS, root string) {
	d := path.Join(root, "d")
	must(t, fsys.MkdirAll(path.Join(d, "sub")))
	create(t, fsys, path.Join(d, "a"), "x")
	if fsys.Remove(d) == nil {
		t.Error("a full directory was removed")
	}
	must(t, fsys.Remove(path.Join(d, "a")))
	wantIs(t, "second remove", fsys.Remove(path.Join(d, "a")), fs.ErrNotExist)
	must(t, fsys.Remove(path.Join(d, "sub")))
	must(t, fsys.Remove(d))

	must(t, fsys.MkdirAll(path.Join(d, "sub")))
	create(t, fsys, path.Join(d, "sub", "a"), "x")
	must(t, fsys.RemoveAll(d))
	must(t, fsys.RemoveAll(d))
	if got := names(t, fsys, root); got != "" {
		t.Errorf("directory lists %q", got)
	}
}

func testRemovedStaysOpen(t *testing.T, fsys vfs.FS, root string) {
	f := create(t, fsys, path.Join(root, "a"), "still here")
	must(t, fsys.Remove(path.Join(root, "a")))
	if got := content(t, f); got != "still here" {
		t.Errorf("removed file reads %q", got)
	}
}

func testLock(t *testing.T, fsys vfs.FS, root string) {
	name := path.Join(root, "LOCK")
	l, err := fsys.Lock(name)
	must(t, err)
	_, err = fsys.Lock(name)
	wantIs(t, "second lock", err, vfs.ErrLocked)
	must(t, l.Close())
	l, err = fsys.Lock(name)
	must(t, err)
	must(t, l.Close())
	if _, err := fsys.Lock(path.Join(root, "no", "LOCK")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lock in a missing directory: %v", err)
	}
}

func testModes(t *testing.T, fsys vfs.FS, root string) {
	d := path.Join(root, "d")
	must(t, fsys.MkdirAll(d))
	create(t, fsys, path.Join(d, "a"), "")
	for name, want := range map[string]fs.FileMode{d: fs.ModeDir | 0o700, path.Join(d, "a"): 0o600} {
		st, err := fsys.Stat(name)
		must(t, err)
		if st.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, st.Mode(), want)
		}
	}
}
