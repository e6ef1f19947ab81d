package raftstore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/vfs"
)

// testBatch is a record batch with n offsets and a payload of size bytes, which need not be records.
func testBatch(n int32, maxTimestamp int64, size int, fill byte) []byte {
	b := make([]byte, record.HeaderSize+size)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	binary.BigEndian.PutUint32(b[23:], uint32(n-1))
	binary.BigEndian.PutUint64(b[27:], uint64(maxTimestamp))
	binary.BigEndian.PutUint64(b[35:], uint64(maxTimestamp))
	binary.BigEndian.PutUint64(b[43:], ^uint64(0))
	binary.BigEndian.PutUint16(b[51:], ^uint16(0))
	binary.BigEndian.PutUint32(b[53:], ^uint32(0))
	binary.BigEndian.PutUint32(b[57:], uint32(n))
	for i := record.HeaderSize; i < len(b); i++ {
		b[i] = fill
	}
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}

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

func openTestLog(t *testing.T, fsys vfs.FS, o LogOptions) *Log {
	t.Helper()
	o.inline = true
	l, err := OpenLog(fsys, "/data/orders-0", o)
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
	l := openTestLog(t, fsys, LogOptions{SegmentBytes: 64 << 10})
	store(t, l, noop(1, 1))
	for i := uint64(2); i <= 200; i++ {
		store(t, l, command(i, 1, testBatch(3, int64(i), 900, byte(i)), testBatch(2, int64(i), 90, byte(i))))
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
	l = openTestLog(t, fsys, LogOptions{SegmentBytes: 64 << 10})
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
