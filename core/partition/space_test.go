package partition

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// ballast takes space of the file system until it is removed.
func ballast(t testing.TB, fsys vfs.FS, bytes int64) {
	t.Helper()
	f, err := fsys.Create("ballast")
	if err == nil {
		err = errors.Join(f.Allocate(bytes), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPositionsReserveTheirBytes fills the disk with positions from many sides at once: what was let in must
// find room, as Raft gives its leadership up over an entry that cannot be stored.
func TestPositionsReserveTheirBytes(t *testing.T) {
	fsys := vfs.NewMem(vfs.WithCapacity(3 << 20))
	ballast(t, fsys, 1<<20)
	r := newRig(t, fsys)
	p := r.open()
	defer r.close(p)
	var writers sync.WaitGroup
	for w := range 200 {
		writers.Go(func() {
			for i := 0; ; i++ {
				origin := fmt.Sprintf("%d/%d/%s", w, i, strings.Repeat("o", 1<<10-40))
				_, err := p.Append(t.Context(), Append{Positions: []Position{{Origin: origin, Kind: PositionOffset, Next: 1}}})
				if err == nil {
					continue
				}
				if !errcode.Is(err, errcode.DiskFull) {
					t.Errorf("writer %d, position %d: %v", w, i, err)
				}
				return
			}
		})
	}
	writers.Wait()
	if err := fsys.Remove("ballast"); err != nil {
		t.Fatal(err)
	}
	appendValues(t, p, nil, "again")
}

// TestRetentionFreesAFullDisk: retention needs next to nothing to make room on a disk that is full to
// the last block but one.
func TestRetentionFreesAFullDisk(t *testing.T) {
	fsys := vfs.NewMem(vfs.WithCapacity(4 << 20))
	r := newRig(t, fsys)
	r.config.SegmentBytes = 256 << 10
	p := r.open()
	defer r.close(p)
	big := strings.Repeat("x", 32<<10)
	for range 40 {
		appendValues(t, p, nil, big)
	}
	if err := p.Maintain(time.Now()); err != nil { // the last snapshot that there is room for
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, big)})
	}
	wantCode(t, err, errcode.DiskFull)
	free, err := fsys.FreeBytes(".")
	if err != nil {
		t.Fatal(err)
	}
	// A file takes a block at least: there is room for the log's new start, and for nothing before it.
	const block = 4096
	ballast(t, fsys, int64(free)-block)
	config := r.config
	config.RetentionBytes = 512 << 10
	if err := p.Reconfigure(config); err != nil {
		t.Fatal(err)
	}
	if err := p.Maintain(time.Now()); err != nil {
		t.Fatal(err)
	}
	if p.Bounds().LogStart == 0 {
		t.Fatal("retention did not move the log's start")
	}
	appendValues(t, p, nil, big)
}
