package log

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

var updateLogGolden = flag.Bool("update-log-golden", false, "rewrite the golden files of the log's formats")

// goldenLog is a log that uses every record of the formats: a sealed segment with an index, a cut, a
// start file.
func goldenLog(t testing.TB, fsys vfs.FS) {
	t.Helper()
	salt := uint64(0x1122334455667700)
	l, err := Open(fsys, crashDir, Options{SegmentBytes: 64 << 10, inline: true, newSalt: func() uint64 { salt++; return salt }})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Reset(99, 6, 5000); err != nil {
		t.Fatal(err)
	}
	entries := []*raft.Log{noop(100, 7)}
	for i := uint64(101); i <= 104; i++ {
		e := command(i, 7, recordtest.Opaque(3, 1700000000000+int64(i), 17<<10, 0), recordtest.Opaque(1, 1600000000000, 0, 0))
		e.Extensions = []byte("extension")
		entries = append(entries, e)
	}
	entries = append(entries, command(105, 7, recordtest.Opaque(2, 1700000000200, 10, 0xab)), command(106, 7, recordtest.Opaque(2, 1700000000300, 10, 0xcd)))
	for _, e := range entries {
		if err := l.StoreLog(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.DeleteRange(106, 106); err != nil {
		t.Fatal(err)
	}
	if err := l.StoreLog(noop(106, 8)); err != nil {
		t.Fatal(err)
	}
	closeDurably(t, fsys, l)
}

// dumpFile is a hex dump without the lines that are all zero, or that a batch's filler makes.
func dumpFile(t testing.TB, fsys vfs.FS, name string) string {
	t.Helper()
	f, err := fsys.OpenReadOnly(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if err := readFull(f, b, 0); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	zero := []byte("00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00")
	for line := range bytes.Lines([]byte(hex.Dump(b))) {
		if !bytes.Contains(line, zero) {
			out.Write(line)
		}
	}
	return out.String()
}

func TestLogFormatGolden(t *testing.T) {
	fsys := vfs.NewMem()
	goldenLog(t, fsys)
	entries, err := fsys.ReadDir(crashDir)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, e := range entries {
		got.WriteString("== " + e.Name() + "\n" + dumpFile(t, fsys, path.Join(crashDir, e.Name())))
	}
	const golden = "testdata/log.golden"
	if *updateLogGolden {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("the format changed: old logs would not open. Got:\n%s", got.String())
	}
}

func FuzzFrameHeader(f *testing.F) {
	h := frameHeader{kind: raft.LogCommand, dataLen: 100, extLen: 3, index: 9, term: 2, baseOffset: 7, nextOffset: 9}
	f.Add(h.append(nil, 5))
	f.Add([]byte{})
	f.Add(make([]byte, frameHeaderSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h frameHeader
		if h.decode(b, 5) != nil {
			return
		}
		if again := h.append(nil, 5); !bytes.Equal(again[:4], b[:4]) || h.size() < frameHeaderSize {
			t.Fatalf("decoded %+v", h)
		}
	})
}

// FuzzOpenLog puts garbage into a log's files: nothing may panic or hang, and what opens can be read.
func FuzzOpenLog(f *testing.F) {
	whole := vfs.NewMem()
	goldenLog(f, whole)
	entries, err := whole.ReadDir(crashDir)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), uint32(0), []byte("garbage"), false)
	f.Add(uint8(1), uint32(activationPos), []byte{0}, false)
	f.Add(uint8(2), uint32(segmentHeaderSize+8), []byte{0xff, 0xff, 0xff, 0x7f}, true)
	f.Add(uint8(3), uint32(cutPos), bytes.Repeat([]byte{1}, 2000), true)
	f.Add(uint8(4), uint32(12), []byte{0xff, 0xff, 0xff, 0xff}, true)
	// A frame whose checksum holds but whose numbers do not.
	h := frameHeader{kind: raft.LogCommand, dataLen: maxFramePayload, index: 100, term: 7, baseOffset: 5000, nextOffset: 1 << 62}
	f.Add(uint8(1), uint32(segmentHeaderSize), h.append(nil, frameSeed(0x1122334455667701)), false)
	f.Fuzz(func(t *testing.T, which uint8, pos uint32, garbage []byte, cutOff bool) {
		disk := whole.CrashClone(nil)
		name := path.Join(crashDir, entries[int(which)%len(entries)].Name())
		file, err := disk.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		at := int64(pos % (70 << 10))
		if _, err := file.WriteAt(garbage, at); err != nil {
			t.Fatal(err)
		}
		if cutOff {
			if err := file.Truncate(at + int64(len(garbage))); err != nil {
				t.Fatal(err)
			}
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(disk, crashDir); err != nil {
			t.Fatal(err)
		}
		readEverything(t, disk)
	})
}

// readEverything opens a damaged log and reads it, ignoring errors.
func readEverything(t *testing.T, fsys vfs.FS) {
	_ = Dump(fsys, crashDir, func(Frame) error { return nil })
	l, err := Open(fsys, crashDir, Options{inline: true})
	if err != nil {
		return
	}
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	for i := first; i <= last && i < first+100; i++ {
		var e raft.Log
		_ = l.GetLog(i, &e)
	}
	_, _, _ = l.OffsetForTime(1700000000150)
	_ = checkOffsets(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
