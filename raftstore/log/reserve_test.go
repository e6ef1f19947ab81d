package log

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestReserveOnAFullDisk(t *testing.T) {
	fsys := vfs.NewMem(vfs.WithCapacity(300 << 10))
	l := openLog(t, fsys, Options{SegmentBytes: 64 << 10})
	batch := recordtest.Opaque(1, 1, 8000, 1)
	index := uint64(0)
	var full error
	for full == nil {
		if full = l.Reserve(len(batch)); full != nil {
			break
		}
		index++
		store(t, l, command(index, 1, batch))
		l.Release(len(batch))
	}
	if !errors.Is(full, ErrDiskFull) || !errors.Is(full, syscall.ENOSPC) {
		t.Fatal(full)
	}
	if l.Failed() != nil {
		t.Fatal("a full disk must not stop the log")
	}
	if err := l.Reserve(len(batch)); !errors.Is(err, ErrDiskFull) {
		t.Fatal("still full:", err)
	}
	var e raft.Log
	if err := l.GetLog(index, &e); err != nil {
		t.Fatal("reads must go on:", err)
	}
	// Raft's own entries find room.
	index++
	store(t, l, noop(index, 2))
	if _, err := l.Retain(Retention{MaxBytes: 64 << 10}, index); err != nil {
		t.Fatal(err)
	}
	if err := l.Reserve(len(batch)); err != nil {
		t.Fatal("there is space again:", err)
	}
	index++
	store(t, l, command(index, 2, batch))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReservedAppendsNeedNoSpace reserves as producers do, several ahead, on disks of many sizes: what
// was reserved must be stored.
func TestReservedAppendsNeedNoSpace(t *testing.T) {
	for capacity := int64(64 << 10); capacity < 400<<10; capacity += 12 << 10 {
		fsys := vfs.NewMem(vfs.WithCapacity(capacity))
		l := openLog(t, fsys, Options{SegmentBytes: 48 << 10})
		index, size := uint64(0), 700
		for {
			var entries []*raft.Log
			for range 3 {
				size = size*7%5000 + 100
				if l.Reserve(size+61) != nil {
					break
				}
				entries = append(entries, command(index+1+uint64(len(entries)), 1, recordtest.Opaque(1, 1, size, 1)))
			}
			for _, e := range entries {
				store(t, l, e)
			}
			for _, e := range entries {
				l.Release(len(e.Data))
			}
			index += uint64(len(entries))
			if len(entries) < 3 {
				break
			}
		}
		if l.Failed() != nil {
			t.Fatal(l.Failed())
		}
	}
}

func TestReleaseGivesRoomBack(t *testing.T) {
	fsys := vfs.NewMem(vfs.WithCapacity(128 << 10))
	l := openLog(t, fsys, Options{SegmentBytes: 64 << 10})
	for range 100 {
		if err := l.Reserve(20 << 10); err != nil {
			t.Fatal(err)
		}
		l.Release(20 << 10)
	}
	if err := l.Reserve(maxFramePayload + 1); !errors.Is(err, ErrMalformedEntry) {
		t.Fatal(err)
	}
	if err := l.Reserve(-1); !errors.Is(err, ErrMalformedEntry) {
		t.Fatal(err)
	}
}

// TestNoSpaceAtAnyOperation lets each operation in turn fail for want of space. StoreLogs after a
// reservation must never see it, since it asks for none.
func TestNoSpaceAtAnyOperation(t *testing.T) {
	grows := func(op vfs.Op) bool {
		return op.Kind == vfs.OpCreate || op.Kind == vfs.OpAllocate || op.Kind == vfs.OpRename
	}
	for k := uint64(1); ; k++ {
		mem := vfs.NewMem()
		full := false
		faulty := vfs.NewFaulty(mem, func(op vfs.Op) error {
			if full = full || op.Seq == k; full && grows(op) {
				return syscall.ENOSPC
			}
			return nil
		})
		l, err := Open(faulty, "/data/t-0", Options{SegmentBytes: 32 << 10, inline: true})
		if err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			continue
		}
		stored := uint64(0)
		for stored < 40 && l.Reserve(3061) == nil {
			stored++
			store(t, l, command(stored, 1, recordtest.Opaque(1, 1, 3000, 1)))
			l.Release(3061)
		}
		if l.Failed() != nil {
			t.Fatal(l.Failed())
		}
		if stored == 40 && faulty.Ops() < k {
			return
		}
		faulty.SetHook(nil)
		if err := l.Reserve(3061); err != nil {
			t.Fatalf("operation %d: there is space again: %v", k, err)
		}
		if last, _ := l.LastIndex(); last != stored {
			t.Fatalf("operation %d: %d entries, stored %d", k, last, stored)
		}
	}
}

func TestLargeEntryGetsALargeSegment(t *testing.T) {
	l := openLog(t, vfs.NewMem(), Options{SegmentBytes: 64 << 10})
	store(t, l, command(1, 1, recordtest.Opaque(1, 1, 100, 1)))
	if err := l.Reserve(100); err != nil {
		t.Fatal(err)
	}
	if err := l.Reserve(1 << 20); err != nil {
		t.Fatal(err)
	}
	store(t, l, command(2, 1, recordtest.Opaque(1, 1, 1<<20, 2)), command(3, 1, recordtest.Opaque(1, 1, 100, 3)))
	got, err := l.Read(nil, 1, 3, 100)
	if err != nil || len(got) != 61+1<<20 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRecyclerReusesFiles(t *testing.T) {
	fsys := vfs.NewMem()
	recycler, err := OpenRecycler(fsys, "/data/recycle", 100<<10)
	if err != nil {
		t.Fatal(err)
	}
	created := 0
	faulty := vfs.NewFaulty(fsys, func(op vfs.Op) error {
		if op.Kind == vfs.OpCreate && strings.Contains(op.Name, prepareSuffix) && !strings.Contains(op.Name, startFile) &&
			!strings.Contains(op.Name, indexSuffix) {
			created++
		}
		return nil
	})
	l := openLog(t, faulty, Options{SegmentBytes: 32 << 10, Recycler: recycler})
	for i := uint64(1); i <= 200; i++ {
		store(t, l, command(i, 1, recordtest.Opaque(1, 1, 3000, byte(i))))
		if _, err := l.Retain(Retention{MaxBytes: 40 << 10}, i); err != nil {
			t.Fatal(err)
		}
		if keptBytes(recycler) > 100<<10 {
			t.Fatalf("the recycler keeps %d bytes", keptBytes(recycler))
		}
	}
	if created > 6 {
		t.Fatalf("%d segment files were created", created)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// Frames of earlier lives must not come back.
	l = openLog(t, fsys, Options{SegmentBytes: 32 << 10})
	if last, _ := l.LastIndex(); last != 200 {
		t.Fatalf("last index %d", last)
	}
	if err := checkOffsets(l); err != nil {
		t.Fatal(err)
	}

	if recycler, err = OpenRecycler(fsys, "/data/recycle", 40<<10); err != nil {
		t.Fatal(err)
	}
	if n := keptBytes(recycler); n == 0 || n > 40<<10 {
		t.Fatalf("the recycler took over %d bytes", n)
	}
	if f, _, err := recycler.take(1<<20, "/data/big"); f != nil || err != nil {
		t.Fatal("nothing is that large")
	}
	if recycler.put("/data/missing") {
		t.Fatal("took a file that is not there")
	}
	if _, err := fsys.Stat("/data/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// TestRecyclerPrefersLargeFiles: the small first segments of logs that have grown must not keep the
// recycler full for ever.
func TestRecyclerPrefersLargeFiles(t *testing.T) {
	fsys := vfs.NewMem()
	recycler, err := OpenRecycler(fsys, "/data/recycle", 100<<10)
	if err != nil {
		t.Fatal(err)
	}
	drop := func(name string, size int64) bool {
		t.Helper()
		f, err := fsys.Create(name)
		if err == nil {
			err = errors.Join(f.Allocate(size), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return recycler.put(name)
	}
	for i := range 10 {
		if !drop(fmt.Sprintf("/data/small-%d", i), 10<<10) {
			t.Fatal("a small file was refused although there is room")
		}
	}
	if !drop("/data/large", 64<<10) || keptBytes(recycler) > 100<<10 {
		t.Fatalf("the large file is not kept, or too much is: %d bytes", keptBytes(recycler))
	}
	if drop("/data/another", 64<<10) {
		t.Fatal("a file was taken in the place of one of its own size")
	}
	if f, size, err := recycler.take(60<<10, "/data/reused"); err != nil || f == nil || size != 64<<10 {
		t.Fatalf("take: %v, %d bytes, %v", f, size, err)
	}
}

// TestConcurrentReservationsFit reserves from many sides: whatever was promised fits.
func TestConcurrentReservationsFit(t *testing.T) {
	for round := range 300 {
		l := openLog(t, vfs.NewMem(vfs.WithCapacity(200<<10)), Options{SegmentBytes: 64 << 10})
		store(t, l, noop(1, 1))
		var writers sync.WaitGroup
		var promised [8]int
		start := make(chan struct{})
		for w := range promised {
			writers.Go(func() {
				<-start
				for n := 100 + 977*w; l.Reserve(n) == nil; n = 1 + (n*7)%9000 {
					promised[w]++
				}
			})
		}
		close(start)
		writers.Wait()
		if need, room := l.reserved.Load()+l.spare(), l.room.Load(); need > room {
			t.Fatalf("round %d: %d bytes were promised and there is room for %d", round, need, room)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReservedAppendsFitUnderLoad reserves, appends and releases from many sides until the disk is full: an
// append that was reserved never finds it full.
func TestReservedAppendsFitUnderLoad(t *testing.T) {
	for round := range 100 {
		l := openLog(t, vfs.NewMem(vfs.WithCapacity(int64(100+round)<<10)), Options{SegmentBytes: 32 << 10})
		var order sync.Mutex // of the entries
		index := uint64(0)
		appendOne := func(size int) error {
			order.Lock()
			defer order.Unlock()
			entry := command(index+1, 1, recordtest.Opaque(1, 1, size, byte(index)))
			if err := l.StoreLog(entry); err != nil {
				return err
			}
			index++
			return nil
		}
		var writers sync.WaitGroup
		for w := range 8 {
			writers.Go(func() {
				for size := 100 + 397*w; ; size = 1 + (size*7)%3000 {
					n := 61 + size
					if err := l.Reserve(n); err != nil {
						if !errors.Is(err, ErrDiskFull) {
							t.Errorf("round %d: reserve: %v", round, err)
						}
						return
					}
					err := appendOne(size)
					l.Release(n)
					if err != nil {
						t.Errorf("round %d: an append that was reserved: %v", round, err)
						return
					}
				}
			})
		}
		writers.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func keptBytes(r *Recycler) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}
