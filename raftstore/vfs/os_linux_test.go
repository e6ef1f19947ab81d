package vfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestOSCloseDuringUse closes a file under those who use it: their calls succeed or say so, and none
// reaches the file that gets the descriptor's number next.
func TestOSCloseDuringUse(t *testing.T) {
	fsys, dir := vfs.OS(), t.TempDir()
	intruder := bytes.Repeat([]byte{0xee}, 512)
	for round := range 50 {
		f, err := fsys.Create(filepath.Join(dir, "victim"))
		must(t, err)
		var users sync.WaitGroup
		started := make(chan struct{}, 2)
		use := func(call func() error) {
			users.Go(func() {
				for i := 0; ; i++ {
					if i == 1 {
						started <- struct{}{}
					}
					if err := call(); err != nil {
						if !errors.Is(err, fs.ErrClosed) {
							t.Errorf("round %d: %v", round, err)
						}
						return
					}
				}
			})
		}
		use(func() error { _, err := f.WritevAt([][]byte{intruder, intruder}, 0); return err })
		use(f.SyncData)
		<-started
		<-started
		must(t, f.Close())
		name := filepath.Join(dir, "next")
		next, err := fsys.Create(name)
		must(t, err)
		users.Wait()
		if size, err := next.Size(); err != nil || size != 0 {
			t.Errorf("round %d: the next file has %d bytes (%v)", round, size, err)
		}
		must(t, next.Close())
		must(t, fsys.Remove(name))
		must(t, fsys.Remove(filepath.Join(dir, "victim")))
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("a second close: %v", err)
		}
	}
}

func TestOSAppendsWithoutAllocating(t *testing.T) {
	f, err := vfs.OS().Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer f.Close()
	bufs := [][]byte{make([]byte, 100), make([]byte, 1000)}
	n := testing.AllocsPerRun(100, func() {
		if _, err := f.WritevAt(bufs, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.SyncData(); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("an append and its sync allocate %v times", n)
	}
}
