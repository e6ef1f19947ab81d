package vfs_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/wasmill/wasmill/raftstore/vfs"
	"github.com/wasmill/wasmill/raftstore/vfs/vfstest"
)

func TestOSConforms(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) (vfs.FS, string) { return vfs.OS(), t.TempDir() })
}

func TestMemConforms(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) (vfs.FS, string) {
		m := vfs.NewMem()
		must(t, m.MkdirAll("data/dir"))
		return m, "data/dir"
	})
}

func TestFaultyWithoutFaultsConforms(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) (vfs.FS, string) {
		f := vfs.NewFaulty(vfs.NewMem(), nil)
		must(t, f.MkdirAll("/d"))
		return f, "/d"
	})
}

func TestFaultyOverOSConforms(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) (vfs.FS, string) { return vfs.NewFaulty(vfs.OS(), nil), t.TempDir() })
}

// TestFaultyMapped fails each of the three moments of a library's own file.
func TestFaultyMapped(t *testing.T) {
	name := filepath.Join(t.TempDir(), "db")
	broken := errors.New("broken disk")
	for kind, want := range map[vfs.OpKind]string{vfs.OpCreate: "", vfs.OpWrite: "old", vfs.OpSync: "new"} {
		must(t, os.WriteFile(name, []byte("old"), 0o600))
		faulty := vfs.NewFaulty(vfs.OS(), func(op vfs.Op) error {
			if op.Kind != kind {
				return nil
			}
			if op.Name != name || !op.Mutates() {
				t.Errorf("%s: the hook sees %+v", kind, op)
			}
			return broken
		})
		f, err := faulty.OpenMapped(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			err = faulty.CommitMapped(name, func() error { _, err := f.WriteAt([]byte("new"), 0); return err })
			must(t, f.Close())
			if got := read(t, vfs.OS(), name); got != want {
				t.Errorf("%s: the file holds %q, want %q", kind, got, want)
			}
		}
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, f vfs.File, s string, off int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(s), off)
	must(t, err)
}

func read(t testing.TB, fsys vfs.FS, name string) string {
	t.Helper()
	f, err := fsys.OpenReadOnly(name)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	must(t, err)
	return string(b)
}

func TestMemCapacity(t *testing.T) {
	m := vfs.NewMem(vfs.WithCapacity(8 * 4096))
	wantFree := func(want uint64) {
		t.Helper()
		if got, err := m.FreeBytes("/"); err != nil || got != want {
			t.Errorf("free: %d (%v), want %d", got, err, want)
		}
	}
	a, err := m.Create("a")
	must(t, err)
	must(t, a.Allocate(4*4096))
	wantFree(4 * 4096)
	must(t, a.Truncate(100*4096)) // a hole costs nothing
	wantFree(4 * 4096)

	n, err := a.WriteAt(make([]byte, 10*4096), 4*4096)
	if n != 4*4096 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write into a full disk: %d bytes, %v", n, err)
	}
	wantFree(0)
	if n, err := a.WriteAt(make([]byte, 4*4096), 0); n != 4*4096 || err != nil {
		t.Errorf("write into allocated space of a full disk: %d bytes, %v", n, err)
	}
	b, err := m.Create("b")
	must(t, err)
	if err := b.Allocate(1); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("allocate on a full disk: %v", err)
	}
	if free, _ := m.CrashClone(nil).FreeBytes("/"); free != 8*4096 {
		t.Errorf("nothing was synced, but %d bytes are free after the crash", free)
	}
	must(t, a.Truncate(4096))
	wantFree(7 * 4096)
	must(t, m.Remove("a"))
	wantFree(7 * 4096)
	must(t, a.Close())
	wantFree(8 * 4096)
}

func TestFaultyHooks(t *testing.T) {
	boom := errors.New("boom")
	f := vfs.NewFaulty(vfs.NewMem(), vfs.FailAt(3, boom))
	a, err := f.Create("a")
	must(t, err)
	write(t, a, "abc", 0)
	if _, err := a.WriteAt([]byte("x"), 0); !errors.Is(err, boom) {
		t.Fatalf("third operation: %v", err)
	}
	write(t, a, "d", 3)
	f.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && op.Name == "a" && op.Offset == 4 && op.Length == 6 && op.Mutates() {
			return &vfs.ShortWrite{N: 4, Err: boom}
		}
		return nil
	})
	n, err := a.WritevAt([][]byte{[]byte("efg"), []byte("hij")}, 4)
	if n != 4 || !errors.Is(err, boom) {
		t.Errorf("short write: %d bytes, %v", n, err)
	}
	if got := read(t, f, "a"); got != "abcdefgh" {
		t.Errorf("file holds %q", got)
	}
	before := f.Ops()
	f.SetHook(vfs.FailFrom(before+2, boom))
	must(t, a.Sync())
	for range 2 {
		if err := a.Sync(); !errors.Is(err, boom) {
			t.Errorf("after the machine stopped: %v", err)
		}
	}
	if f.Ops() != before+3 {
		t.Errorf("%d operations, want %d", f.Ops(), before+3)
	}
}
