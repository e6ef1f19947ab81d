package log

import (
	"errors"
	"math"
	"path"
	"syscall"
	"testing"

	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestRelaxedStartIsNotAheadOfItsEntry: the log start must not survive a power loss that takes the entry which
// asked for it.
func TestRelaxedStartIsNotAheadOfItsEntry(t *testing.T) {
	mem := vfs.NewMem()
	o := Options{Flush: FlushRelaxed, syncBehind: math.MaxInt64}
	l := openLog(t, mem, o)
	store(t, l, command(1, 1, recordtest.Opaque(5, 1, 100, 1)))
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	store(t, l, command(2, 1, recordtest.Opaque(5, 1, 100, 2)), noop(3, 1)) // entry 3 asks for the trim
	if _, err := l.Retain(Retention{BeforeOffset: 8}, 3); err != nil {
		t.Fatal(err)
	}
	found := openLog(t, mem.CrashClone(nil), o)
	if last, _ := found.LastIndex(); last != 3 || found.StartOffset() != 8 || found.EndOffset() != 10 {
		t.Fatalf("last index %d, offsets %d to %d", last, found.StartOffset(), found.EndOffset())
	}
}

// TestDurableOffset: the offset is that of the last sync, and what lies below it survives.
func TestDurableOffset(t *testing.T) {
	mem := vfs.NewMem()
	told := 0
	o := Options{Flush: FlushRelaxed, syncBehind: math.MaxInt64, SegmentBytes: crashSegment, OnDurable: func() { told++ }}
	l := openLog(t, mem, o)
	expect := func(index uint64, offset int64, calls int) {
		t.Helper()
		if l.DurableIndex() != index || l.DurableOffset() != offset || told != calls {
			t.Fatalf("durable to index %d, offset %d, told %d times; expected %d, %d, %d",
				l.DurableIndex(), l.DurableOffset(), told, index, offset, calls)
		}
		found := openLog(t, mem.CrashClone(nil), o)
		if last, _ := found.LastIndex(); last != index || found.EndOffset() != offset || found.DurableOffset() != offset {
			t.Fatalf("found to index %d, offset %d, durable %d", last, found.EndOffset(), found.DurableOffset())
		}
	}
	store(t, l, command(1, 1, recordtest.Opaque(5, 1, 100, 1)))
	told = 0
	expect(0, 0, 0)
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	expect(1, 5, 1)
	if err := l.Sync(); err != nil { // nothing new
		t.Fatal(err)
	}
	expect(1, 5, 1)
	store(t, l, command(2, 1, recordtest.Opaque(2, 1, 6<<10, 1)))
	expect(1, 5, 1)
	store(t, l, command(3, 1, recordtest.Opaque(2, 1, 6<<10, 1))) // seals the segment that ends with entry 2
	expect(2, 7, 2)
	if err := l.DeleteRange(2, 3); err != nil {
		t.Fatal(err)
	}
	expect(1, 5, 2)
	if err := l.Reset(10, 2, 40); err != nil {
		t.Fatal(err)
	}
	if l.DurableIndex() != 10 || l.DurableOffset() != 40 {
		t.Fatalf("after a reset: %d, %d", l.DurableIndex(), l.DurableOffset())
	}
}

// TestRecyclerGivesWay: no append, reservation or change of the log's start is refused for want of space that the
// recycler keeps.
func TestRecyclerGivesWay(t *testing.T) {
	mem := vfs.NewMem(vfs.WithCapacity(1 << 20))
	recycler, err := OpenRecycler(mem, "/data/recycle", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		name := path.Join("/data", string(rune('a'+i)))
		f, err := mem.Create(name)
		if err == nil {
			err = errors.Join(f.Allocate(100<<10), f.Close())
		}
		if err != nil || !recycler.put(name) {
			t.Fatal("not kept", err)
		}
	}
	l := openLog(t, mem, Options{SegmentBytes: 700 << 10, Recycler: recycler})
	if err := l.Reserve(100 << 10); err != nil {
		t.Fatal(err)
	}
	if len(recycler.free) != 2 {
		t.Fatalf("%d of 9 files are left: a segment needs 7", len(recycler.free))
	}
	l.Release(100 << 10)
	store(t, l, command(1, 1, recordtest.Opaque(1, 1, 600<<10, 1)))
	if err := l.Reserve(600 << 10); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if released := recycler.Release(1 << 20); released != 0 {
		t.Fatalf("the disk was called full while the recycler had %d bytes", released)
	}
}

// fill takes all space that is left.
func fill(t *testing.T, fsys vfs.FS) {
	t.Helper()
	f, err := fsys.Create("/filler")
	for size := int64(4 << 10); err == nil; size += 4 << 10 {
		err = f.Allocate(size)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestRetentionWithoutAFreeBlock: what frees space needs none.
func TestRetentionWithoutAFreeBlock(t *testing.T) {
	mem := vfs.NewMem(vfs.WithCapacity(1 << 20))
	o := Options{SegmentBytes: 16 << 10}
	l := openLog(t, mem, o)
	index := uint64(0)
	for ; index < 20; index++ {
		store(t, l, command(index+1, 1, recordtest.Opaque(1, 1, 3000, 1)))
	}
	fill(t, mem)
	for round := range 2 {
		if free, _ := mem.FreeBytes("/"); round == 0 && free != 0 {
			t.Fatalf("%d bytes free", free)
		}
		trimmed, err := l.Retain(Retention{BeforeOffset: int64(5 + 5*round)}, index)
		if err != nil || trimmed.Segments == 0 {
			t.Fatalf("round %d: %+v, %v", round, trimmed, err)
		}
		if _, err := mem.Stat(path.Join(crashDir, spareFile)); err != nil {
			t.Fatalf("round %d: no spare for the next time: %v", round, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = openLog(t, mem, o) // also after a restart
	}
}

// TestSegmentBytesChange: a new limit is that of the segment after the present one.
func TestSegmentBytesChange(t *testing.T) {
	l := openLog(t, vfs.NewMem(), Options{SegmentBytes: 64 << 10})
	index := uint64(0)
	roll := func() {
		t.Helper()
		for n := len(l.state.Load().segments); len(l.state.Load().segments) == n; {
			index++
			store(t, l, command(index, 1, recordtest.Opaque(1, 1, 1000, 1)))
		}
	}
	roll()
	for l.next == nil { // a segment of the old size is prepared
		index++
		store(t, l, command(index, 1, recordtest.Opaque(1, 1, 1000, 1)))
	}
	if err := l.SetSegmentBytes(16 << 10); err != nil {
		t.Fatal(err)
	}
	if l.active.capacity != 64<<10 {
		t.Fatalf("the active segment has %d bytes", l.active.capacity)
	}
	for range 2 {
		if roll(); l.active.capacity != 16<<10 {
			t.Fatalf("a segment of %d bytes after the limit became 16 KiB", l.active.capacity)
		}
	}
	if err := l.SetSegmentBytes(128 << 10); err != nil {
		t.Fatal(err)
	}
	roll()
	if roll(); l.active.capacity <= 16<<10 {
		t.Fatalf("a segment of %d bytes after the limit became 128 KiB", l.active.capacity)
	}
	if err := l.SetSegmentBytes(1); err == nil {
		t.Fatal("a limit of 1 byte was accepted")
	}
	if err := l.Reserve(100 << 10); err != nil {
		t.Fatal(err)
	}
}
