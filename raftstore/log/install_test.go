package log

import (
	"errors"
	"math/rand"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestResetContinuesSnapshot: the log's end after an installed snapshot comes from the snapshot, not from the
// entries that were there.
func TestResetContinuesSnapshot(t *testing.T) {
	fsys := vfs.NewMem()
	l := openLog(t, fsys, Options{})
	for i := uint64(1); i <= 5; i++ {
		store(t, l, command(i, 1, recordtest.Opaque(1, 1, 100, 1)))
	}
	if err := l.Reset(100, 3, 95); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		var stub raft.Log
		if err := l.GetLog(100, &stub); err != nil || stub.Index != 100 || stub.Term != 3 {
			t.Fatalf("entry 100: %+v, %v", stub, err)
		}
		if l.StartOffset() != 95 || l.EndOffset() != 95 {
			t.Fatalf("offsets %d to %d, expected 95", l.StartOffset(), l.EndOffset())
		}
	}
	check()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, fsys, Options{})
	check()
	store(t, l, command(101, 3, recordtest.Opaque(1, 1, 100, 2)))
	if l.EndOffset() != 96 {
		t.Fatalf("the log ends at offset %d, expected 96", l.EndOffset())
	}
}

// TestStoreNeverSkipsIndexes: an empty log does not guess at which offset a later entry begins.
func TestStoreNeverSkipsIndexes(t *testing.T) {
	l := openLog(t, vfs.NewMem(), Options{})
	for i := uint64(1); i <= 5; i++ {
		store(t, l, command(i, 1, recordtest.Opaque(1, 1, 100, 1)))
	}
	if err := l.DeleteRange(1, 5); err != nil {
		t.Fatal(err)
	}
	if err := l.StoreLog(command(101, 3, recordtest.Opaque(1, 1, 100, 2))); !errors.Is(err, ErrGap) {
		t.Fatalf("entry 101 after none: %v", err)
	}
	store(t, l, command(1, 3, recordtest.Opaque(1, 1, 100, 2)))
}

// appendEntries does what Raft does on a follower with entries of a leader; last is Raft's own idea of its last
// index. It returns the new one.
func appendEntries(l *Log, last uint64, entries ...*raft.Log) (uint64, error) {
	for i, e := range entries {
		if e.Index > last {
			entries = entries[i:]
			break
		}
		var have raft.Log
		if err := l.GetLog(e.Index, &have); err != nil {
			return last, err
		}
		if have.Term != e.Term {
			if err := l.DeleteRange(e.Index, last); err != nil {
				return last, err
			}
			entries = entries[i:]
			break
		}
	}
	if err := l.StoreLogs(entries); err != nil {
		return last, err
	}
	return entries[len(entries)-1].Index, nil
}

// TestConflictOnFullDisk: conflicting entries are removed, and there is no space for those of the leader. Raft still
// believes in its old last entry; the leader's next request must succeed once there is space.
func TestConflictOnFullDisk(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem(), nil)
	l := openLog(t, faulty, Options{SegmentBytes: 1 << 20})
	for i := uint64(1); i <= 5; i++ {
		store(t, l, command(i, 1, recordtest.Opaque(1, 1, 100, 1)))
	}
	faulty.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpAllocate {
			return syscall.ENOSPC
		}
		return nil
	})
	request := []*raft.Log{command(4, 2, recordtest.Opaque(1, 1, 2<<20, 1)), command(5, 2, recordtest.Opaque(1, 1, 100, 2))}
	last := uint64(5)
	for range 2 {
		var err error
		if last, err = appendEntries(l, last, request...); !errors.Is(err, ErrDiskFull) {
			t.Fatalf("without space: %v", err)
		}
	}
	faulty.SetHook(nil)
	if _, err := appendEntries(l, last, request...); err != nil {
		t.Fatalf("with space again: %v", err)
	}
	var got raft.Log
	if err := l.GetLog(5, &got); err != nil || got.Term != 2 {
		t.Fatalf("entry 5: %+v, %v", got, err)
	}
	if err := l.GetLog(6, &got); err != raft.ErrLogNotFound {
		t.Fatalf("entry 6: %v", err)
	}
}

// TestResetBelowFormerEnd: a snapshot of another history ends before the log's last entry. Raft keeps that entry in
// mind; the leader's entries after the snapshot replace it.
func TestResetBelowFormerEnd(t *testing.T) {
	l := openLog(t, vfs.NewMem(), Options{})
	for i := uint64(1); i <= 25; i++ {
		store(t, l, command(i, 1, recordtest.Opaque(1, 1, 100, 1)))
	}
	if err := l.Reset(20, 3, 18); err != nil {
		t.Fatal(err)
	}
	var got raft.Log
	if err := l.GetLog(25, &got); err != nil || got.Term != 0 {
		t.Fatalf("entry 25: %+v, %v", got, err)
	}
	if _, err := appendEntries(l, 25, command(21, 3, recordtest.Opaque(1, 1, 100, 2))); err != nil {
		t.Fatal(err)
	}
	if err := l.GetLog(25, &got); err != raft.ErrLogNotFound {
		t.Fatalf("entry 25 after entry 21 was stored: %v", err)
	}
	if l.EndOffset() != 19 {
		t.Fatalf("the log ends at offset %d, expected 19", l.EndOffset())
	}
}

// TestSnapshotBehindTail: Raft must not be told to delete a log that is ahead of a snapshot.
func TestSnapshotBehindTail(t *testing.T) {
	var store raft.LogStore = openLog(t, vfs.NewMem(), Options{})
	if m, ok := store.(raft.MonotonicLogStore); ok && m.IsMonotonic() {
		t.Error("Raft deletes every entry of a monotonic log when it installs a snapshot")
	}
}

// TestResetSurvivesKillAndCrash: a kill at any operation of Reset, then a start that repeats it if it has not
// happened, then a power loss.
func TestResetSurvivesKillAndCrash(t *testing.T) {
	for k := uint64(1); ; k++ {
		mem := vfs.NewMem()
		faulty := vfs.NewFaulty(mem, nil)
		l := logToReset(t, faulty)
		faulty.SetHook(vfs.FailFrom(faulty.Ops()+k, vfs.ErrKilled))
		killed := l.Reset(500, 7, 900)
		again := openLog(t, mem, Options{SegmentBytes: crashSegment})
		var stub raft.Log
		if err := again.GetLog(500, &stub); err != nil {
			if err := again.Reset(500, 7, 900); err != nil {
				t.Fatalf("operation %d: %v", k, err)
			}
		}
		store(t, again, command(501, 7, recordtest.Opaque(1, 1, 1000, 1)))
		for seed := range int64(4) {
			var rng *rand.Rand
			if seed > 0 {
				rng = rand.New(rand.NewSource(seed))
			}
			found := openLog(t, mem.CrashClone(rng), Options{SegmentBytes: crashSegment})
			last, _ := found.LastIndex()
			if last != 501 || found.StartOffset() != 900 || found.EndOffset() != 901 {
				t.Fatalf("operation %d, seed %d: last index %d, offsets %d to %d", k, seed, last, found.StartOffset(), found.EndOffset())
			}
		}
		if killed == nil {
			return
		}
	}
}
