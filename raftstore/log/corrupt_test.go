package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// sampleLog stores n entries of some 1,100 bytes each, one by one, in segments of 16 KiB.
func sampleLog(t testing.TB, fsys vfs.FS, n uint64) {
	t.Helper()
	l, err := Open(fsys, crashDir, Options{SegmentBytes: 16 << 10, inline: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= n; i++ {
		if err := l.StoreLog(command(i, 1, recordtest.Opaque(2, int64(i), 1000, byte(i)))); err != nil {
			t.Fatal(err)
		}
	}
	closeDurably(t, fsys, l)
}

// closeDurably makes also those names durable that need not be, so that a CrashClone is a plain copy.
func closeDurably(t testing.TB, fsys vfs.FS, l *Log) {
	t.Helper()
	if err := errors.Join(l.Close(), fsys.SyncDir(crashDir)); err != nil {
		t.Fatal(err)
	}
}

// sampleFrames lists where the sample's frames lie.
func sampleFrames(t testing.TB, fsys vfs.FS) []Frame {
	t.Helper()
	var frames []Frame
	if err := Dump(fsys, crashDir, func(f Frame) error {
		f.Data, f.Extensions = nil, nil
		frames = append(frames, f)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return frames
}

func garble(t testing.TB, fsys vfs.FS, name string, pos int64, n int) {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, pos); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 0x5a
	}
	if _, err := f.WriteAt(b, pos); err != nil {
		t.Fatal(err)
	}
}

// reopenDamaged returns the last index of the log, or the damage that Open or a read of all entries
// reports.
func reopenDamaged(t testing.TB, fsys vfs.FS) (uint64, *CorruptionError) {
	t.Helper()
	l, err := Open(fsys, crashDir, Options{SegmentBytes: 16 << 10, inline: true})
	var damage *CorruptionError
	if errors.As(err, &damage) {
		return 0, damage
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	last, _ := l.LastIndex()
	for i := uint64(1); i <= last; i++ {
		var e raft.Log
		if err := l.GetLog(i, &e); errors.As(err, &damage) {
			return 0, damage
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return last, nil
}

func TestGarbledFrames(t *testing.T) {
	const n = 60
	whole := vfs.NewMem()
	sampleLog(t, whole, n)
	frames := sampleFrames(t, whole)
	if len(frames) != n || frames[0].File == frames[n-1].File {
		t.Fatalf("%d frames", len(frames))
	}
	for i, f := range frames {
		for what, damage := range map[string]struct {
			pos  int64
			size int
		}{
			"header": {0, 8}, "index": {16, 1}, "checksum": {76, 4}, "payload": {frameHeaderSize + 500, 1}, "all": {0, int(f.Size)},
		} {
			t.Run(fmt.Sprintf("frame %d %s", i+1, what), func(t *testing.T) {
				disk := whole.CrashClone(nil)
				garble(t, disk, f.File, f.Pos+damage.pos, damage.size)
				last, found := reopenDamaged(t, disk)
				if i == n-1 {
					// Nothing is behind the last frame: a torn write and damage look the same.
					if found != nil || last != n-1 {
						t.Fatalf("last index %d, %v", last, found)
					}
					return
				}
				// Of the frame before the last one only a later frame, written after it was durable, tells.
				if found == nil {
					t.Fatalf("not reported; the log ends at %d", last)
				}
				if found.File != f.File || found.Pos != f.Pos {
					t.Fatalf("%v, expected %s at %d", found, f.File, f.Pos)
				}
				checkVerify(t, disk, f.File, f.Pos)
			})
		}
	}
}

// checkVerify expects Verify to name the damaged place, and to go on behind it.
func checkVerify(t *testing.T, fsys vfs.FS, file string, pos int64) {
	t.Helper()
	report, err := Verify(fsys, crashDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Faults {
		if f.File == file && f.Pos == pos && f.Problem != "" && f.Advice != "" {
			if report.Frames != 59 || report.LastIndex != 60 {
				t.Fatalf("%d frames to index %d", report.Frames, report.LastIndex)
			}
			return
		}
	}
	t.Fatalf("%s at %d is not among %v", file, pos, report.Faults)
}

// undatedFile is a log whose frames do not say what was durable when they were written.
type undatedFile struct {
	vfs.File
	seed uint32
}

func (f undatedFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	var all []byte
	for _, b := range bufs {
		all = append(all, b...)
	}
	for p := int64(0); p < int64(len(all)); {
		var h frameHeader
		if err := h.decode(all[p:], f.seed); err != nil {
			return 0, err
		}
		h.durable = 0
		copy(all[p:], h.append(nil, f.seed))
		p += h.size()
	}
	return f.File.WriteAt(all, off)
}

// TestDurablePositionIsNeeded shows that without it damage in the last segment would pass for a torn
// tail, and acknowledged entries would be lost silently.
func TestDurablePositionIsNeeded(t *testing.T) {
	const salt = 42
	run := func(wrap func(vfs.File) vfs.File) (uint64, *CorruptionError) {
		mem := vfs.NewMem()
		l, err := Open(brokenFS{mem, wrap}, crashDir, Options{newSalt: func() uint64 { return salt }})
		if err != nil {
			t.Fatal(err)
		}
		for i := uint64(1); i <= 10; i++ {
			store(t, l, command(i, 1, recordtest.Opaque(1, 1, 1000, 1)))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		third := sampleFrames(t, mem)[2]
		garble(t, mem, third.File, third.Pos, 4)
		return reopenDamaged(t, mem)
	}
	if _, found := run(func(f vfs.File) vfs.File { return f }); found == nil {
		t.Fatal("damage was not reported")
	}
	last, found := run(func(f vfs.File) vfs.File { return undatedFile{f, frameSeed(salt)} })
	if found != nil || last != 2 {
		t.Fatalf("the broken log ends at %d, %v: this test shows nothing", last, found)
	}
}

func TestGarbledFiles(t *testing.T) {
	whole := vfs.NewMem()
	sampleLog(t, whole, 60)
	l := openLog(t, whole, Options{SegmentBytes: 16 << 10})
	if _, err := l.Retain(Retention{MaxBytes: 50 << 10}, 60); err != nil {
		t.Fatal(err)
	}
	closeDurably(t, whole, l)
	segments := l.state.Load().segments
	first, second, last := segments[0], segments[1], segments[len(segments)-1]
	remove := func(name string) func(*testing.T, vfs.FS) {
		return func(t *testing.T, fsys vfs.FS) {
			if err := fsys.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(name string, pos int64) func(*testing.T, vfs.FS) {
		return func(t *testing.T, fsys vfs.FS) { garble(t, fsys, name, pos, 4) }
	}
	for _, c := range []struct {
		name   string
		damage func(*testing.T, vfs.FS)
		file   string // of the CorruptionError; "" if the log opens as before
	}{
		{"start file", flip(path.Join(crashDir, startFile), 20), path.Join(crashDir, startFile)},
		{"no start file", remove(path.Join(crashDir, startFile)), first.name},
		{"magic", flip(first.name, 0), first.name},
		{"identity", flip(second.name, 16), second.name},
		{"activation", flip(second.name, activationPos+8), second.name},
		{"activation of the last", flip(last.name, activationPos+8), last.name},
		{"first segment missing", remove(first.name), second.name},
		{"middle segment missing", remove(second.name), segments[2].name},
		{"index file", flip(first.indexName(), 30), ""},
		{"no index file", remove(first.indexName()), ""},
		{"shortened", func(t *testing.T, fsys vfs.FS) { truncateFile(t, fsys, second.name, 9000) }, second.name},
		{"last one shortened", func(t *testing.T, fsys vfs.FS) { truncateFile(t, fsys, last.name, 9000) }, last.name},
		{"emptied", func(t *testing.T, fsys vfs.FS) { truncateFile(t, fsys, last.name, 0) }, last.name},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := whole.CrashClone(nil)
			c.damage(t, disk)
			_, err := Open(disk, crashDir, Options{})
			var damage *CorruptionError
			if errors.As(err, &damage) != (c.file != "") || (damage != nil && damage.File != c.file) {
				t.Fatalf("%v, expected damage in %q", err, c.file)
			}
			report, err := Verify(disk, crashDir)
			if err != nil {
				t.Fatal(err)
			}
			if wanted := c.file != "" || c.name == "index file"; (len(report.Faults) > 0) != wanted {
				t.Fatalf("faults: %v", report.Faults)
			}
		})
	}
}

func truncateFile(t *testing.T, fsys vfs.FS, name string, size int64) {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyGoodLog(t *testing.T) {
	fsys := vfs.NewMem()
	sampleLog(t, fsys, 60)
	report, err := Verify(fsys, crashDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Faults) != 0 || report.TornTail != nil || report.Frames != 60 || report.Batches != 60 ||
		report.FirstIndex != 1 || report.LastIndex != 60 || report.StartOffset != 0 || report.EndOffset != 120 || report.Segments < 4 {
		t.Fatalf("%+v", report)
	}
	frames := sampleFrames(t, fsys)
	tail := frames[59]
	garble(t, fsys, tail.File, tail.Pos+200, 1)
	if report, err = Verify(fsys, crashDir); err != nil {
		t.Fatal(err)
	}
	if len(report.Faults) != 0 || report.TornTail == nil || report.TornTail.Pos != tail.Pos || report.LastIndex != 59 {
		t.Fatalf("%+v", report)
	}
}

func TestVerifyFindsBadBatches(t *testing.T) {
	fsys := vfs.NewMem()
	l := openLog(t, fsys, Options{})
	batch := recordtest.Opaque(1, 1, 100, 1)
	binary.BigEndian.PutUint32(batch[17:], crc32.ChecksumIEEE(batch))
	store(t, l, command(1, 1, recordtest.Opaque(1, 1, 100, 1)), command(2, 1, batch))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Verify(fsys, crashDir)
	if err != nil || len(report.Faults) != 1 || report.Faults[0].Advice != adviceBatch || report.Frames != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
}
