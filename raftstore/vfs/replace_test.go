package vfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"testing"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestReplaceFileCrash stops the machine at every operation: one of the two files is there, whole, and
// the new one once the call has returned.
func TestReplaceFileCrash(t *testing.T) {
	const before, after = "the old content", "new"
	fault := errors.New("stopped here")
	for k := uint64(1); ; k++ {
		mem := vfs.NewMem()
		must(t, mem.MkdirAll("d"))
		must(t, mem.SyncDir("."))
		must(t, vfs.ReplaceFileSynced(mem, "d/f", []byte(before)))
		err := vfs.ReplaceFileSynced(vfs.NewFaulty(mem, vfs.FailFrom(k, fault)), "d/f", []byte(after))
		if err != nil && !errors.Is(err, fault) {
			t.Fatal(err)
		}
		for seed := range int64(20) {
			crashed := mem.CrashClone(rand.New(rand.NewSource(seed)))
			got := read(t, crashed, "d/f")
			if got != after && (err == nil || got != before) {
				t.Fatalf("stopped at operation %d (%v), the file holds %q", k, err, got)
			}
			must(t, vfs.ReplaceFileSynced(crashed, "d/f", []byte(after))) // over what is left
			if got := read(t, crashed, "d/f"); got != after {
				t.Fatalf("stopped at operation %d, then replaced: %q", k, got)
			}
		}
		if err == nil {
			return
		}
	}
}

func TestReplaceFileGivesSpaceBack(t *testing.T) {
	for k := uint64(1); ; k++ {
		mem := vfs.NewMem()
		err := vfs.ReplaceFileSynced(vfs.NewFaulty(mem, vfs.FailAt(k, errors.New("no"))), "f", []byte("x"))
		if err == nil {
			return
		}
		if _, err := mem.Stat("f.tmp"); !errors.Is(err, fs.ErrNotExist) {
			t.Error(fmt.Errorf("operation %d failed and left f.tmp: %w", k, err))
		}
	}
}
