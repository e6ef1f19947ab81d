package log

import (
	"fmt"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Benchmarks write to the temporary directory of the test: set TMPDIR to the disk of interest. The log
// keeps at most benchKeep bytes, so that files are recycled as in production.
const (
	benchEntry = 64 << 10
	benchKeep  = 192 << 20
)

func benchmarkLog(b *testing.B, flush FlushMode) *Log {
	b.Helper()
	dir := b.TempDir()
	recycler, err := OpenRecycler(vfs.OS(), dir+"/recycle", 256<<20)
	if err != nil {
		b.Fatal(err)
	}
	l, err := Open(vfs.OS(), dir+"/log", Options{Flush: flush, Recycler: recycler})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}

func benchmarkAppend(b *testing.B, flush FlushMode, perCall int) {
	l := benchmarkLog(b, flush)
	batch := recordtest.Opaque(64, 1, benchEntry-61, 7)
	entries := make([]*raft.Log, perCall)
	for i := range entries {
		entries[i] = &raft.Log{Term: 1, Type: raft.LogCommand, Data: batch}
	}
	next := uint64(1)
	appendOnce := func() {
		for _, e := range entries {
			e.Index = next
			next++
		}
		if err := l.StoreLogs(entries); err != nil {
			b.Fatal(err)
		}
		if l.SizeBytes() > benchKeep {
			if _, err := l.Retain(Retention{MaxBytes: benchKeep / 2}, next); err != nil {
				b.Fatal(err)
			}
		}
	}
	for l.SizeBytes() < benchKeep-(64<<20) { // fill what is recycled later
		appendOnce()
	}
	b.SetBytes(int64(perCall * benchEntry))
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		appendOnce()
	}
}

func BenchmarkLogAppend(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("fsync/entries=%d", n), func(b *testing.B) { benchmarkAppend(b, FlushFsync, n) })
		b.Run(fmt.Sprintf("relaxed/entries=%d", n), func(b *testing.B) { benchmarkAppend(b, FlushRelaxed, n) })
	}
}

// BenchmarkRawAppend is what the same bytes cost without a log: writes over a file that was written
// before, each followed by fdatasync or not.
func BenchmarkRawAppend(b *testing.B) {
	const size = 64 << 20
	for _, n := range []int{1, 8} {
		for name, sync := range map[string]bool{"fsync": true, "relaxed": false} {
			b.Run(fmt.Sprintf("%s/entries=%d", name, n), func(b *testing.B) {
				f, err := vfs.OS().Create(b.TempDir() + "/raw")
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				chunk := make([]byte, n*benchEntry)
				for off := int64(0); off < size; off += int64(len(chunk)) {
					if _, err := f.WriteAt(chunk, off); err != nil {
						b.Fatal(err)
					}
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(chunk)))
				b.ResetTimer()
				off := int64(0)
				for b.Loop() {
					if _, err := f.WritevAt([][]byte{chunk}, off); err != nil {
						b.Fatal(err)
					}
					if sync {
						if err := f.SyncData(); err != nil {
							b.Fatal(err)
						}
					}
					off = (off + int64(len(chunk))) % size
				}
			})
		}
	}
}

func BenchmarkLogRead(b *testing.B) {
	l := benchmarkLog(b, FlushRelaxed)
	for i := uint64(1); i <= 2048; i++ {
		if err := l.StoreLog(&raft.Log{Index: i, Term: 1, Type: raft.LogCommand, Data: recordtest.Opaque(64, 1, benchEntry-61, 7)}); err != nil {
			b.Fatal(err)
		}
	}
	for _, maxBytes := range []int{benchEntry, 1 << 20} {
		b.Run(fmt.Sprintf("catchup/max=%d", maxBytes), func(b *testing.B) {
			var buf []byte
			next, end := int64(0), l.EndOffset()
			b.SetBytes(int64(maxBytes))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, err = l.Read(buf[:0], next, end, maxBytes); err != nil {
					b.Fatal(err)
				}
				if next += 64 * int64(len(buf)/benchEntry); next >= end {
					next = 0
				}
			}
		})
	}
	b.Run("GetLog", func(b *testing.B) {
		var e raft.Log
		index := uint64(1)
		b.SetBytes(benchEntry)
		b.ReportAllocs()
		for b.Loop() {
			if err := l.GetLog(index, &e); err != nil {
				b.Fatal(err)
			}
			index = index%2048 + 1
		}
	})
}

// BenchmarkOpenLog opens a log whose last segment is full but for a little.
func BenchmarkOpenLog(b *testing.B) {
	dir := b.TempDir()
	l, err := Open(vfs.OS(), dir, Options{Flush: FlushRelaxed})
	if err != nil {
		b.Fatal(err)
	}
	for i := uint64(1); i <= 2900; i++ { // 1+2+4+8+16+32+64 MiB, and half of the next
		if err := l.StoreLog(&raft.Log{Index: i, Term: 1, Type: raft.LogCommand, Data: recordtest.Opaque(64, 1, benchEntry-61, 7)}); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d segments, %d bytes in the last", len(l.state.Load().segments), l.active.tail.Load().size)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if l, err = Open(vfs.OS(), dir, Options{}); err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
