package log

import (
	"bytes"
	"errors"
	"testing"

	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestReadersKeepDroppedFiles: a reader that has a segment open reads the same bytes after the segment was
// dropped by retention, truncation or reset, although other segments want its file. Only when the reader has
// released it does the file go to the recycler, and nobody can open the segment any more.
func TestReadersKeepDroppedFiles(t *testing.T) {
	const segmentBytes = 16 << 10
	for name, c := range map[string]struct {
		segment int // that is read
		drop    func(l *Log, last uint64) error
	}{
		"retention": {0, func(l *Log, last uint64) error {
			_, err := l.Retain(Retention{MaxBytes: 1}, last)
			return err
		}},
		"truncation": {3, func(l *Log, last uint64) error { return l.DeleteRange(2, last) }},
		"reset":      {1, func(l *Log, last uint64) error { return l.Reset(last+10, 1, l.EndOffset()) }},
	} {
		mem := vfs.NewMem()
		recycler, err := OpenRecycler(mem, "/data/recycle", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		l := openLog(t, mem, Options{SegmentBytes: segmentBytes, Recycler: recycler})
		last := uint64(0)
		for len(l.state.Load().segments) < 5 {
			last++
			store(t, l, command(last, 1, recordtest.Opaque(1, 1, 3000, byte(last))))
		}
		reader, err := l.open(l.state.Load().segments[c.segment])
		if err != nil {
			t.Fatal(err)
		}
		before := make([]byte, reader.end.size)
		if err := errors.Join(readFull(reader.file, before, 0), c.drop(l, last)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := reader.segment.acquire(); !errors.Is(err, errSegmentDropped) {
			t.Errorf("%s: acquiring a dropped segment: %v", name, err)
		}
		for range 4 * segmentBytes / 3000 { // uses up what the recycler has got
			next := max(l.state.Load().tail().lastIndex, l.state.Load().base.index) + 1
			store(t, l, command(next, 2, recordtest.Opaque(1, 1, 3000, 0xee)))
		}
		after := make([]byte, len(before))
		if err := readFull(reader.file, after, 0); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the file changed under a reader (%v)", name, err)
		}
		kept := keptBytes(recycler)
		reader.release()
		if got := keptBytes(recycler) - kept; got != segmentBytes {
			t.Errorf("%s: the recycler got %d bytes when the reader was done", name, got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
