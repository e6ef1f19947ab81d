package log

import (
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLogReadersAndWriters appends, cuts uncommitted entries, retains and syncs while others read. Each
// batch is filled with the low byte of its base offset, so that readers know what they must see.
func TestLogReadersAndWriters(t *testing.T) {
	for _, flush := range []FlushMode{FlushFsync, FlushRelaxed} {
		mem := vfs.NewMem()
		recycler, err := OpenRecycler(mem, "/data/recycle", 200<<10)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Open(mem, crashDir, Options{SegmentBytes: 32 << 10, Flush: flush, Recycler: recycler, syncBehind: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		var committed atomic.Int64
		var done atomic.Bool
		var group sync.WaitGroup
		for seed := range int64(3) {
			group.Go(func() {
				rng := rand.New(rand.NewSource(seed))
				for !done.Load() {
					if err := readSomething(l, rng, committed.Load()); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		group.Go(func() {
			for !done.Load() {
				last, _ := l.LastIndex()
				if _, err := l.Retain(Retention{MaxBytes: 100 << 10}, last-min(last, 50)); err != nil {
					t.Error(err)
					return
				}
				if err := l.Sync(); err != nil {
					t.Error(err)
					return
				}
			}
		})
		writeSomething(t, l, &committed)
		done.Store(true)
		group.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if report, err := Verify(mem, crashDir); err != nil || len(report.Faults) > 0 {
			t.Fatalf("%+v, %v", report, err)
		}
	}
}

func writeSomething(t *testing.T, l *Log, committed *atomic.Int64) {
	rng := rand.New(rand.NewSource(1))
	index, offset := uint64(0), int64(0)
	for term := uint64(1); term < 120; term++ {
		for range 8 {
			index++
			store(t, l, command(index, term, recordtest.Opaque(1, 1, rng.Intn(3000), byte(offset))))
			offset++
		}
		committed.Store(offset)
		// Entries that another leader will replace.
		store(t, l, command(index+1, term, recordtest.Opaque(1, 1, 1000, 0xee)), command(index+2, term, recordtest.Opaque(1, 1, 20_000, 0xee)))
		if err := l.DeleteRange(index+1, index+2); err != nil {
			t.Error(err)
		}
	}
}

func readSomething(l *Log, rng *rand.Rand, committed int64) error {
	var e raft.Log
	first, _ := l.FirstIndex()
	index := first + uint64(rng.Int63n(max(committed-int64(first), 1)))
	if err := l.GetLog(index, &e); err != nil && err != raft.ErrLogNotFound {
		return err
	}
	if _, _, err := l.OffsetForTime(1); err != nil {
		return err
	}
	start := l.StartOffset()
	if start >= committed {
		return nil
	}
	offset := start + rng.Int63n(committed-start)
	got, err := l.Read(nil, offset, committed, 8<<10)
	if errors.Is(err, ErrOffsetOutOfRange) && l.StartOffset() > offset {
		return nil
	}
	if err != nil || len(got) == 0 {
		return fmt.Errorf("read %d of %d: %d bytes, %w", offset, committed, len(got), err)
	}
	for b, err := range record.All(got) {
		if err != nil {
			return err
		}
		if b.BaseOffset() != offset || (len(b.Payload()) > 0 && b.Payload()[0] != byte(offset)) {
			return fmt.Errorf("batch at %d is not that of offset %d", b.BaseOffset(), offset)
		}
		offset++
	}
	return nil
}
