package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

var testServers = raft.Configuration{Servers: []raft.Server{
	{Suffrage: raft.Voter, ID: "n1", Address: "10.0.0.1:7"},
	{Suffrage: raft.Nonvoter, ID: "n2", Address: "n2"},
}}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// errorLog collects the errors that a store logs.
type errorLog struct {
	slog.Handler
	errs []error
}

func (l *errorLog) logger() *slog.Logger {
	l.Handler = slog.DiscardHandler
	return slog.New(l)
}

func (l *errorLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *errorLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && a.Key == "error" && r.Level == slog.LevelError {
			l.errs = append(l.errs, err)
		}
		return true
	})
	return nil
}

func openStore(t testing.TB, fsys vfs.FS, retain int) *Store {
	t.Helper()
	s, err := Open(fsys, "snapshots", Options{Retain: retain})
	mustDo(t, err)
	return s
}

// take writes one in two pieces, and cancels it after an error as raft does.
func take(s *Store, index uint64, data string) error {
	sink, err := s.Create(1, index, 7, testServers, 3, nil)
	if err != nil {
		return err
	}
	for _, part := range []string{data[:len(data)/2], data[len(data)/2:]} {
		if _, err := io.WriteString(sink, part); err != nil {
			return errors.Join(err, sink.Cancel())
		}
	}
	return sink.Close()
}

func readData(s *Store, id string) (string, error) {
	_, r, err := s.Open(id)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

// indexes are those listed, in order.
func indexes(t testing.TB, s *Store) string {
	t.Helper()
	list, err := s.List()
	mustDo(t, err)
	var out []string
	for _, m := range list {
		out = append(out, fmt.Sprint(m.Index))
	}
	return strings.Join(out, " ")
}

func fileNames(t testing.TB, fsys vfs.FS) string {
	t.Helper()
	entries, err := fsys.ReadDir("snapshots")
	mustDo(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimLeft(e.Name()[:20], "0")+path.Ext(e.Name()))
	}
	return strings.Join(out, " ")
}

func TestSnapshotsRoundTrip(t *testing.T) {
	for _, data := range []string{"", "x", strings.Repeat("0123456789", 100_000)} {
		m := vfs.NewMem()
		s := openStore(t, m, 2)
		if _, _, ok := s.Newest(); ok || indexes(t, s) != "" {
			t.Error("an empty store has a snapshot")
		}
		mustDo(t, take(s, 42, data))
		for range 2 {
			list, err := s.List()
			mustDo(t, err)
			if len(list) != 1 {
				t.Fatalf("%d snapshots are listed", len(list))
			}
			meta, r, err := s.Open(list[0].ID)
			mustDo(t, err)
			got, err := io.ReadAll(r)
			mustDo(t, errors.Join(err, r.Close()))
			if string(got) != data {
				t.Errorf("%d bytes came back as %d others", len(data), len(got))
			}
			want := fmt.Sprint(raft.SnapshotMeta{Version: 1, ID: list[0].ID, Index: 42, Term: 7,
				Configuration: testServers, ConfigurationIndex: 3, Size: int64(len(data))})
			if fmt.Sprint(*meta) != want || fmt.Sprint(*list[0]) != want {
				t.Errorf("meta is %v, listed %v, want %v", *meta, *list[0], want)
			}
			list[0].Configuration.Servers[0].ID = "changed by the caller"
			s = openStore(t, m, 2)
		}
	}
}

func TestSnapshotGolden(t *testing.T) {
	const want = "574d534e41503031" + "5a000000" + "264abb11" + // magic, header size, header checksum
		"2a00000000000000" + "0700000000000000" + "0300000000000000" + // index, term, configuration index
		"0500000000000000" + "df68db66" + "02000000" + "0000000000000000" + // data length, data checksum, servers
		"00" + "0200" + "6e31" + "0a00" + "31302e302e302e313a37" +
		"01" + "0200" + "6e32" + "0200" + "6e32" +
		"7374617465"
	m := vfs.NewMem()
	mustDo(t, take(openStore(t, m, 1), 42, "state"))
	name := "snapshots/00000000000000000042-00000000000000000007.snap"
	if got := hex.EncodeToString(fileBytes(t, m, name)); got != want {
		t.Errorf("file is\n%s, want\n%s", got, want)
	}
}

func fileBytes(t testing.TB, fsys vfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.OpenReadOnly(name)
	mustDo(t, err)
	size, err := f.Size()
	mustDo(t, err)
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	mustDo(t, errors.Join(err, f.Close()))
	return b
}

func replaceFile(t testing.TB, fsys vfs.FS, name string, content []byte) {
	t.Helper()
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	f, err := fsys.Create(name)
	mustDo(t, err)
	_, err = f.WriteAt(content, 0)
	mustDo(t, errors.Join(err, f.Close()))
}

func TestSnapshotsRetain(t *testing.T) {
	m := vfs.NewMem()
	s := openStore(t, m, 2)
	for _, index := range []uint64{9, 10, 100, 10} {
		mustDo(t, take(s, index, fmt.Sprint(index)))
	}
	if got := indexes(t, s); got != "100 10" {
		t.Errorf("listed: %s", got)
	}
	if got := fileNames(t, m); got != "10.snap 100.snap" {
		t.Errorf("files: %s", got)
	}
	if i, term, ok := s.Newest(); i != 100 || term != 7 || !ok {
		t.Errorf("newest is %d in term %d (%v)", i, term, ok)
	}
	if i, _, ok := s.Oldest(); i != 10 || !ok {
		t.Errorf("oldest is %d (%v)", i, ok)
	}
	if _, _, err := s.Open(formatID(9, 7)); !errors.Is(err, ErrNotFound) {
		t.Errorf("opening a removed one: %v", err)
	}
	if _, err := Open(m, "snapshots", Options{}); err == nil {
		t.Error("a store that keeps nothing was opened")
	}
}

func TestSnapshotSinkEnds(t *testing.T) {
	m := vfs.NewMem()
	s := openStore(t, m, 1)
	sink, err := s.Create(1, 5, 7, testServers, 3, nil)
	mustDo(t, err)
	if got := indexes(t, s); got != "" {
		t.Errorf("an unfinished snapshot is listed: %s", got)
	}
	mustDo(t, sink.Cancel())
	mustDo(t, sink.Cancel())
	if err := sink.Close(); err == nil {
		t.Error("closing after Cancel succeeds")
	}
	if got := fileNames(t, m); got != "" {
		t.Errorf("Cancel left %s", got)
	}
	mustDo(t, take(s, 5, "x"))
	sink, err = s.Create(1, 6, 7, testServers, 3, nil)
	mustDo(t, err)
	mustDo(t, errors.Join(sink.Close(), sink.Close(), sink.Cancel()))
	if _, err := sink.Write([]byte("x")); err == nil {
		t.Error("writing after Close succeeds")
	}
	if got := indexes(t, s); got != "6" {
		t.Errorf("listed: %s", got)
	}
	if _, err := s.Create(0, 7, 7, testServers, 3, nil); err == nil {
		t.Error("version 0 was accepted")
	}
	long := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(strings.Repeat("x", 70000))}}}
	if _, err := s.Create(1, 7, 7, long, 3, nil); err == nil {
		t.Error("an id of 70,000 bytes was accepted")
	}
}

// TestSnapshotDamage flips every single byte, and cuts at every length: the damage is seen, reported,
// and the older snapshot serves.
func TestSnapshotDamage(t *testing.T) {
	m := vfs.NewMem()
	s := openStore(t, m, 2)
	mustDo(t, take(s, 1, "older"))
	mustDo(t, take(s, 2, "newer"))
	name := s.file(formatID(2, 7))
	good := fileBytes(t, m, name)
	check := func(what string, content []byte) {
		replaceFile(t, m, name, content)
		if _, err := readData(s, formatID(2, 7)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s, opened in use: %v", what, err)
		}
		var problems errorLog
		fresh, err := Open(m, "snapshots", Options{Retain: 2, Logger: problems.logger()})
		mustDo(t, err)
		if got := indexes(t, fresh); got != "1" {
			t.Errorf("%s: listed %s", what, got)
		}
		if p := problems.errs; len(p) != 1 || !errors.Is(p[0], ErrCorrupt) {
			t.Errorf("%s: logged %v", what, p)
		}
		s = openStore(t, m, 2)
		replaceFile(t, m, name, good)
		s = openStore(t, m, 2)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		check(fmt.Sprintf("byte %d flipped", i), bad)
		check(fmt.Sprintf("cut at %d", i), good[:i])
	}
	check("one byte more", append(bytes.Clone(good), 0))
	check("another snapshot under the name", fileBytes(t, m, s.file(formatID(1, 7))))
}

// TestSnapshotDamagedGoesInTime: a damaged file stays for inspection until newer ones push it out.
func TestSnapshotDamagedGoesInTime(t *testing.T) {
	m := vfs.NewMem()
	s := openStore(t, m, 2)
	mustDo(t, take(s, 1, "x"))
	mustDo(t, take(s, 2, "x"))
	replaceFile(t, m, s.file(formatID(2, 7)), []byte("garbage"))
	replaceFile(t, m, "snapshots/"+formatID(3, 7)+tempSuffix, []byte("unfinished"))
	s = openStore(t, m, 2)
	if got := fileNames(t, m); got != "1.snap 2.snap" {
		t.Errorf("files after opening: %s", got)
	}
	mustDo(t, take(s, 4, "x"))
	if got := fileNames(t, m); got != "1.snap 2.snap 4.snap" {
		t.Errorf("files after one more snapshot: %s", got)
	}
	mustDo(t, take(s, 5, "x"))
	if got := fileNames(t, m); got != "4.snap 5.snap" {
		t.Errorf("files after two more snapshots: %s", got)
	}
}

func FuzzSnapshotHeader(f *testing.F) {
	h, err := encodeHeader(&raft.SnapshotMeta{Index: 1, Term: 2, Configuration: testServers, Size: 5}, 9)
	mustDo(f, err)
	f.Add(h)
	f.Add(h[:fixedSize])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		size := int64(len(b))
		if len(b) >= fixedSize { // let the fuzzer past the checksum
			copy(b, magic)
			binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
			binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[summedFrom:], castagnoli))
			size += int64(binary.LittleEndian.Uint16(b[40:]))
		}
		meta, sum, err := decodeHeader(b, size)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := encodeHeader(meta, sum)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x came back as %x (%v)", b, again, err)
		}
	})
}

func FuzzSnapshotFile(f *testing.F) {
	h, err := encodeHeader(&raft.SnapshotMeta{Index: 1, Term: 2, Configuration: testServers}, 0)
	mustDo(f, err)
	f.Add(h)
	f.Add([]byte("WMSNAP01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := vfs.NewMem()
		replaceFile(t, m, "f", b)
		file, err := m.OpenReadOnly("f")
		mustDo(t, err)
		if _, err := verify(file); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error %v", err)
		}
	})
}
