package log

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

func command(index, term uint64, batches ...[]byte) *raft.Log {
	e := &raft.Log{Index: index, Term: term, Type: raft.LogCommand, AppendedAt: time.Unix(1700000000, int64(index))}
	for _, b := range batches {
		e.Data = append(e.Data, b...)
	}
	return e
}

func noop(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogNoop}
}

func openLog(t *testing.T, fsys vfs.FS, o Options) *Log {
	t.Helper()
	o.inline = true
	l, err := Open(fsys, "/data/orders-0", o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func store(t *testing.T, l *Log, entries ...*raft.Log) {
	t.Helper()
	if err := l.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
}

func TestLogAppendReadReopen(t *testing.T) {
	fsys := vfs.NewMem()
	l := openLog(t, fsys, Options{SegmentBytes: 64 << 10})
	store(t, l, noop(1, 1))
	for i := uint64(2); i <= 200; i++ {
		store(t, l, command(i, 1, recordtest.Opaque(3, int64(i), 900, byte(i)), recordtest.Opaque(2, int64(i), 90, byte(i))))
	}
	check := func() {
		t.Helper()
		if first, _ := l.FirstIndex(); first != 1 {
			t.Fatalf("first index %d", first)
		}
		if last, _ := l.LastIndex(); last != 200 {
			t.Fatalf("last index %d", last)
		}
		if l.EndOffset() != 199*5 {
			t.Fatalf("end offset %d", l.EndOffset())
		}
		var e raft.Log
		for i := uint64(1); i <= 200; i++ {
			if err := l.GetLog(i, &e); err != nil || e.Index != i {
				t.Fatalf("entry %d: %+v %v", i, e, err)
			}
		}
		if err := l.GetLog(201, &e); err != raft.ErrLogNotFound {
			t.Fatalf("entry 201: %v", err)
		}
		next := int64(0)
		for next < l.EndOffset() {
			b, err := l.Read(nil, next, l.EndOffset(), 5000)
			if err != nil || len(b) == 0 {
				t.Fatalf("read %d: %d bytes, %v", next, len(b), err)
			}
			for batch, err := range record.All(b) {
				if err != nil || batch.BaseOffset() != next || batch.LeaderEpoch() != 1 {
					t.Fatalf("batch at %d: %d, %v", next, batch.BaseOffset(), err)
				}
				if err := batch.CheckHeader(record.DefaultLimits()); err != nil {
					t.Fatal(err)
				}
				next = batch.NextOffset()
			}
		}
	}
	check()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, fsys, Options{SegmentBytes: 64 << 10})
	check()
	if n := len(l.state.Load().segments); n < 3 {
		t.Fatalf("%d segments", n)
	}
	if _, err := l.Read(nil, 996, 2000, 1); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLogRefusesBadEntries(t *testing.T) {
	l := openLog(t, vfs.NewMem(), Options{})
	good := recordtest.Opaque(1, 1, 10, 1)
	store(t, l, command(1, 5, good))
	negative := recordtest.Opaque(0, 1, 10, 1)
	for name, c := range map[string]struct {
		entries []*raft.Log
		want    error
	}{
		"gap":           {[]*raft.Log{command(3, 5, good)}, ErrGap},
		"again":         {[]*raft.Log{command(1, 5, good)}, ErrGap},
		"gap inside":    {[]*raft.Log{command(2, 5, good), command(4, 5, good)}, ErrGap},
		"older term":    {[]*raft.Log{command(2, 4, good)}, ErrMalformedEntry},
		"no batch":      {[]*raft.Log{{Index: 2, Term: 5, Data: []byte("no batch")}}, ErrMalformedEntry},
		"cut batch":     {[]*raft.Log{{Index: 2, Term: 5, Data: good[:len(good)-1]}}, ErrMalformedEntry},
		"second batch":  {[]*raft.Log{command(2, 5, good, good[:20])}, ErrMalformedEntry},
		"negative last": {[]*raft.Log{command(2, 5, negative)}, ErrMalformedEntry},
	} {
		t.Run(name, func(t *testing.T) {
			if err := l.StoreLogs(c.entries); !errors.Is(err, c.want) {
				t.Fatal(err)
			}
			if last, _ := l.LastIndex(); last != 1 || l.EndOffset() != 1 || l.Failed() != nil {
				t.Fatalf("last index %d, end %d, %v", last, l.EndOffset(), l.Failed())
			}
		})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.StoreLog(noop(2, 6)); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, err := l.Read(nil, 0, 1, 1); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestLogDeleteRange(t *testing.T) {
	l := openLog(t, vfs.NewMem(), Options{SegmentBytes: 16 << 10})
	var rolls []uint64
	l.o.OnRoll = func(last uint64) { rolls = append(rolls, last) }
	for i := uint64(1); i <= 50; i++ {
		store(t, l, command(i, 1, recordtest.Opaque(1, int64(i), 1000, 1)))
	}
	if len(rolls) < 3 || rolls[0] != l.state.Load().segments[0].tail.Load().lastIndex {
		t.Fatalf("rolls: %v", rolls)
	}
	if err := l.DeleteRange(10, 20); err == nil {
		t.Fatal("a hole was allowed")
	}
	// A prefix goes by whole segments.
	if err := l.DeleteRange(1, rolls[1]+1); err != nil {
		t.Fatal(err)
	}
	if first, _ := l.FirstIndex(); first != rolls[1]+1 {
		t.Fatalf("first index %d", first)
	}
	var stub raft.Log
	if err := l.GetLog(rolls[1], &stub); err != nil || stub.Term != 1 || stub.Index != rolls[1] {
		t.Fatalf("%+v, %v", stub, err)
	}
	if err := l.GetLog(rolls[1]-1, &stub); err != raft.ErrLogNotFound {
		t.Fatal(err)
	}
	for _, outside := range [][2]uint64{{60, 70}, {1, 5}, {45, 44}} {
		if err := l.DeleteRange(outside[0], outside[1]); err != nil {
			t.Fatal(err)
		}
	}
	if last, _ := l.LastIndex(); last != 50 {
		t.Fatalf("last index %d", last)
	}
}

func TestRetainByAge(t *testing.T) {
	l := openLog(t, vfs.NewMem(), Options{SegmentBytes: 16 << 10})
	day := 24 * time.Hour
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := uint64(1); i <= 60; i++ {
		store(t, l, command(i, 1, recordtest.Opaque(1, start.Add(time.Duration(i)*day).UnixMilli(), 1000, 1)))
	}
	p := Retention{MaxAge: 30 * day, Now: start.Add(60 * day)}
	if trimmed, err := l.Retain(p, 9); err != nil || trimmed.Segments != 0 {
		t.Fatalf("no snapshot covers a segment: %+v, %v", trimmed, err)
	}
	trimmed, err := l.Retain(p, 60)
	if err != nil || trimmed.Segments == 0 || trimmed.Bytes == 0 {
		t.Fatalf("%+v, %v", trimmed, err)
	}
	if trimmed.StartOffset != l.StartOffset() || trimmed.StartOffset > 30 || trimmed.StartOffset < 30-15 {
		t.Fatalf("start offset %d", trimmed.StartOffset)
	}
	offset, ok, err := l.OffsetForTime(start.Add(40 * day).UnixMilli())
	if err != nil || !ok || offset != 39 {
		t.Fatalf("offset %d, %v, %v", offset, ok, err)
	}
}

func TestRelaxedFlush(t *testing.T) {
	mem := vfs.NewMem()
	l := openLog(t, mem, Options{Flush: FlushRelaxed})
	durable := func() uint64 {
		t.Helper()
		again := openLog(t, mem.CrashClone(nil), Options{})
		last, _ := again.LastIndex()
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		return last
	}
	store(t, l, noop(1, 1), noop(2, 1))
	if l.DurableIndex() != 0 || durable() != 0 {
		t.Fatalf("durable: %d, in fact %d", l.DurableIndex(), durable())
	}
	if err := l.Sync(); err != nil || l.DurableIndex() != 2 || durable() != 2 {
		t.Fatalf("durable: %d, in fact %d, %v", l.DurableIndex(), durable(), err)
	}
	store(t, l, noop(3, 1))
	if err := l.SetFlush(FlushFsync); err != nil || durable() != 3 {
		t.Fatalf("durable: %d, %v", durable(), err)
	}
	store(t, l, noop(4, 1))
	if l.DurableIndex() != 4 || durable() != 4 {
		t.Fatalf("durable: %d, in fact %d", l.DurableIndex(), durable())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
