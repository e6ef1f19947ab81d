// Package vfstest is the conformance kit of vfs.FS: every implementation runs it.
package vfstest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Run checks an implementation. open gives a file system and an empty directory in it, new for each
// test.
func Run(t *testing.T, open func(t *testing.T) (fsys vfs.FS, root string)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, fsys vfs.FS, root string)
	}{
		{"create and open", testCreate},
		{"read and write", testReadWrite},
		{"vectored write", testWritev},
		{"size, truncate and allocate", testSizes},
		{"directories", testDirectories},
		{"rename", testRename},
		{"remove", testRemove},
		{"removed file stays readable", testRemovedStaysOpen},
		{"lock", testLock},
		{"modes", testModes},
		{"free bytes", testFreeBytes},
		{"closed file", testClosed},
		{"concurrent writers", testConcurrent},
		{"directories made durable", testMkdirAllSynced},
		{"mapped file", testMapped},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys, root := open(t)
			c.test(t, fsys, root)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got error %v, want %v", what, err, target)
	}
}

func create(t *testing.T, fsys vfs.FS, name, content string) vfs.File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func content(t *testing.T, f vfs.File) string {
	t.Helper()
	size, err := f.Size()
	must(t, err)
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	must(t, err)
	return string(b)
}

func names(t *testing.T, fsys vfs.FS, dir string) string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func testCreate(t *testing.T, fsys vfs.FS, root string) {
	name := path.Join(root, "a")
	_, err := fsys.Open(name)
	wantIs(t, "open of a missing file", err, fs.ErrNotExist)
	_, err = fsys.OpenReadOnly(name)
	wantIs(t, "read-only open of a missing file", err, fs.ErrNotExist)
	_, err = fsys.Create(path.Join(root, "missing", "a"))
	wantIs(t, "create in a missing directory", err, fs.ErrNotExist)

	f := create(t, fsys, name, "hello")
	if f.Name() != name {
		t.Errorf("Name is %q, want %q", f.Name(), name)
	}
	_, err = fsys.Create(name)
	wantIs(t, "create of an existing file", err, fs.ErrExist)
	again, err := fsys.Open(name)
	must(t, err)
	defer again.Close()
	_, err = again.WriteAt([]byte("J"), 0)
	must(t, err)
	if got := content(t, f); got != "Jello" {
		t.Errorf("one handle reads %q after another wrote", got)
	}
	ro, err := fsys.OpenReadOnly(name)
	must(t, err)
	defer ro.Close()
	if got := content(t, ro); got != "Jello" {
		t.Errorf("read-only handle reads %q", got)
	}
	if _, err := ro.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a read-only handle accepts a write")
	}
}

func testReadWrite(t *testing.T, fsys vfs.FS, root string) {
	f := create(t, fsys, path.Join(root, "a"), "0123456789")
	buf := make([]byte, 4)
	n, err := f.ReadAt(buf, 3)
	must(t, err)
	if n != 4 || string(buf) != "3456" {
		t.Errorf("read %d bytes %q", n, buf)
	}
	n, err = f.ReadAt(buf, 8)
	if n != 2 || err != io.EOF || string(buf[:n]) != "89" {
		t.Errorf("read across the end: %d bytes, error %v", n, err)
	}
	if n, err = f.ReadAt(buf, 100); n != 0 || err != io.EOF {
		t.Errorf("read beyond the end: %d bytes, error %v", n, err)
	}
	if _, err = f.ReadAt(buf, -1); err == nil {
		t.Error("read at a negative offset succeeds")
	}
	if _, err = f.WriteAt(buf, -1); err == nil {
		t.Error("write at a negative offset succeeds")
	}
	// A hole reads as zeros.
	_, err = f.WriteAt([]byte("end"), 10000)
	must(t, err)
	got := content(t, f)
	if want := "0123456789" + strings.Repeat("\x00", 9990) + "end"; got != want {
		t.Error("the hole does not read as zeros between what was written")
	}
	must(t, f.Sync())
	must(t, f.SyncData())
}

func testWritev(t *testing.T, fsys vfs.FS, root string) {
	f := create(t, fsys, path.Join(root, "a"), "")
	// More buffers than one system call takes, some of them empty, over several pages.
	var bufs [][]byte
	var want bytes.Buffer
	for i := range 3000 {
		b := bytes.Repeat([]byte{byte(i)}, i%7)
		bufs = append(bufs, b)
		want.Write(b)
	}
	n, err := f.WritevAt(bufs, 5)
	must(t, err)
	if n != want.Len() {
		t.Fatalf("wrote %d bytes, want %d", n, want.Len())
	}
	if got := content(t, f); got != "\x00\x00\x00\x00\x00"+want.String() {
		t.Error("content differs from the buffers")
	}
	for i, b := range bufs {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, i%7)) {
			t.Fatalf("buffer %d was changed", i)
		}
	}
	if n, err := f.WritevAt(nil, 0); n != 0 || err != nil {
		t.Errorf("writing nothing: %d, %v", n, err)
	}
}

func testSizes(t *testing.T, fsys vfs.FS, root string) {
	f := create(t, fsys, path.Join(root, "a"), "0123456789")
	wantSize := func(want int64) {
		t.Helper()
		if got, err := f.Size(); err != nil || got != want {
			t.Errorf("size is %d (%v), want %d", got, err, want)
		}
		st, err := fsys.Stat(f.Name())
		must(t, err)
		if st.Size() != want || st.IsDir() {
			t.Errorf("stat: size %d, directory %v; want %d", st.Size(), st.IsDir(), want)
		}
	}
	wantSize(10)
	must(t, f.Allocate(100000))
	wantSize(100000)
	must(t, f.Allocate(0))
	must(t, f.Allocate(50))
	wantSize(100000)
	if got := content(t, f); got != "0123456789"+strings.Repeat("\x00", 99990) {
		t.Error("allocation changed the content or does not read as zeros")
	}
	must(t, f.Truncate(4))
	wantSize(4)
	must(t, f.Truncate(12))
	if got := content(t, f); got != "0123\x00\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("after cutting and extending: %q", got)
	}
}

func testConcurrent(t *testing.T, fsys vfs.FS, root string) {
	f := create(t, fsys, path.Join(root, "a"), "")
	const workers, size = 8, 3000
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			b := bytes.Repeat([]byte{byte('a' + w)}, size)
			for at := 0; at < size; at += 100 {
				if _, err := f.WriteAt(b[at:at+100], int64(w*size+at)); err != nil {
					t.Error(err)
				}
				if err := f.SyncData(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := content(t, f)
	for w := range workers {
		if got[w*size:(w+1)*size] != strings.Repeat(string(rune('a'+w)), size) {
			t.Errorf("range of writer %d is damaged", w)
		}
	}
}

func testFreeBytes(t *testing.T, fsys vfs.FS, root string) {
	free, err := fsys.FreeBytes(root)
	must(t, err)
	if free == 0 {
		t.Error("no byte is free")
	}
}

func testClosed(t *testing.T, fsys vfs.FS, root string) {
	f := create(t, fsys, path.Join(root, "a"), "abc")
	must(t, f.Close())
	_, err := f.ReadAt(make([]byte, 1), 0)
	wantIs(t, "read", err, fs.ErrClosed)
	_, err = f.WriteAt([]byte("x"), 0)
	wantIs(t, "write", err, fs.ErrClosed)
	wantIs(t, "sync", f.Sync(), fs.ErrClosed)
	wantIs(t, "second close", f.Close(), fs.ErrClosed)
}

// testMapped passes if neither opening nor committing is supported.
func testMapped(t *testing.T, fsys vfs.FS, root string) {
	name := path.Join(root, "mapped")
	_, err := fsys.OpenMapped(name, os.O_RDWR, 0o600)
	if errors.Is(err, errors.ErrUnsupported) {
		err := fsys.CommitMapped(name, func() error { t.Error("a commit was run"); return nil })
		wantIs(t, "commit without mapped files", err, errors.ErrUnsupported)
		return
	}
	wantIs(t, "open a missing file", err, fs.ErrNotExist)
	f, err := fsys.OpenMapped(name, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, fsys.CommitMapped(name, func() error {
		_, err := f.WriteAt([]byte("page"), 0)
		return errors.Join(err, f.Sync())
	}))
	must(t, f.Close())
	same, err := fsys.OpenReadOnly(name)
	must(t, err)
	if got := content(t, same); got != "page" {
		t.Errorf("the file holds %q", got)
	}
	must(t, same.Close())
	refused := errors.New("refused")
	wantIs(t, "failed commit", fsys.CommitMapped(name, func() error { return refused }), refused)
}
