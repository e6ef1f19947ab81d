package vfs_test

import (
	"bytes"
	"errors"
	"math/rand"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// outcomes collects what 200 crashes leave, as seen by look.
func outcomes(m *vfs.Mem, look func(*vfs.Mem) string) map[string]int {
	seen := make(map[string]int)
	for seed := range int64(200) {
		seen[look(m.CrashClone(rand.New(rand.NewSource(seed))))]++
	}
	return seen
}

func durableFile(t *testing.T, m *vfs.Mem, name, content string) vfs.File {
	t.Helper()
	f, err := m.Create(name)
	must(t, err)
	write(t, f, content, 0)
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	return f
}

func TestCrashKeepsSynced(t *testing.T) {
	m := vfs.NewMem()
	want := strings.Repeat("0123456789", 1000)
	durableFile(t, m, "a", want)
	got := outcomes(m, func(c *vfs.Mem) string { return read(t, c, "a") })
	if len(got) != 1 || got[want] == 0 {
		t.Errorf("synced content came back in %d different forms", len(got))
	}
}

func TestCrashTearsSectors(t *testing.T) {
	m := vfs.NewMem()
	f := durableFile(t, m, "a", strings.Repeat("o", 3*512))
	write(t, f, strings.Repeat("n", 3*512), 0)
	got := outcomes(m, func(c *vfs.Mem) string {
		s := read(t, c, "a")
		return s[:1] + s[512:513] + s[1024:1025]
	})
	for _, want := range []string{"ooo", "oon", "ono", "onn", "noo", "non", "nno", "nnn"} {
		if got[want] == 0 {
			t.Errorf("no crash left the sectors %s", want)
		}
	}
	if got := read(t, m.CrashClone(nil), "a"); got != strings.Repeat("o", 3*512) {
		t.Error("the harshest crash kept unsynced data")
	}
}

// TestCrashKeepsIntermediate: a sector written twice may come back as after the first write, while a
// sector of only the second write has reached the disk.
func TestCrashKeepsIntermediate(t *testing.T) {
	m := vfs.NewMem()
	f := durableFile(t, m, "a", strings.Repeat("0", 1024))
	write(t, f, "1", 511)
	write(t, f, "22", 511)
	got := outcomes(m, func(c *vfs.Mem) string { return read(t, c, "a")[511:513] })
	for _, want := range []string{"00", "02", "10", "12", "20", "22"} {
		if got[want] == 0 {
			t.Errorf("no crash left %s: %v", want, got)
		}
	}
}

func TestCrashMayLoseSize(t *testing.T) {
	m := vfs.NewMem()
	f := durableFile(t, m, "a", "ab")
	write(t, f, "cdef", 2)
	lengths := make(map[int]bool)
	for content := range outcomes(m, func(c *vfs.Mem) string { return read(t, c, "a") }) {
		if !strings.HasPrefix(content, "ab") {
			t.Errorf("crash left %q", content)
		}
		lengths[len(content)] = true
	}
	for n := 2; n <= 6; n++ {
		if !lengths[n] {
			t.Errorf("no crash left %d bytes", n)
		}
	}
	must(t, f.SyncData())
	must(t, f.Truncate(1))
	got := outcomes(m, func(c *vfs.Mem) string { return read(t, c, "a") })
	if got["abcdef"] == 0 || got["a"] == 0 {
		t.Errorf("an unsynced truncation is always kept or always lost: %v", got)
	}
}

func list(t *testing.T, m *vfs.Mem, dir string) string {
	t.Helper()
	entries, err := m.ReadDir(dir)
	must(t, err)
	var b bytes.Buffer
	for _, e := range entries {
		b.WriteString(e.Name())
	}
	return b.String()
}

func TestCrashOfDirectories(t *testing.T) {
	m := vfs.NewMem()
	durableFile(t, m, "a", "a")
	for _, name := range []string{"b", "c"} {
		f, err := m.Create(name)
		must(t, err)
		must(t, f.Sync()) // of the file, not of its name
	}
	must(t, m.Remove("a"))
	must(t, m.Rename("c", "d"))
	got := outcomes(m, func(c *vfs.Mem) string { return list(t, c, "/") })
	for _, want := range []string{"a", "ab", "abc", "bc", "bd", "ad", "", "d"} {
		if got[want] == 0 {
			t.Errorf("no crash left the names %q: %v", want, got)
		}
	}
	for names := range got {
		if strings.Contains(names, "c") && strings.Contains(names, "d") {
			t.Errorf("a rename happened by half: %q", names)
		}
	}
	must(t, m.SyncDir("/"))
	if got := outcomes(m, func(c *vfs.Mem) string { return list(t, c, "/") }); got["bd"] != 200 {
		t.Errorf("synced names: %v", got)
	}
}

func TestCrashOfNewDirectory(t *testing.T) {
	m := vfs.NewMem()
	must(t, m.MkdirAll("x/y"))
	f, err := m.Create("x/y/a")
	must(t, err)
	must(t, f.Sync())
	must(t, m.SyncDir("x/y"))
	if got := list(t, m.CrashClone(nil), "/"); got != "" {
		t.Errorf("the directory is there without a sync of its parent: %q", got)
	}
	m2 := vfs.NewMem()
	must(t, vfs.MkdirAllSynced(m2, "x/y"))
	if got := list(t, m2.CrashClone(nil), "x"); got != "y" {
		t.Errorf("directories made durable are gone: %q", got)
	}
}

func TestCrashOfRenameAcrossDirectories(t *testing.T) {
	m := vfs.NewMem()
	must(t, vfs.MkdirAllSynced(m, "d"))
	durableFile(t, m, "a", "a")
	must(t, m.Rename("a", "d/a"))
	look := func(c *vfs.Mem) string { return list(t, c, "/") + "|" + list(t, c, "d") }
	got := outcomes(m, look)
	if got["ad|"] == 0 || got["d|a"] == 0 || len(got) != 2 {
		t.Errorf("outcomes %v", got)
	}
	must(t, m.SyncDir("d"))
	if got := outcomes(m, look); got["d|a"] != 200 {
		t.Errorf("outcomes after the target was synced: %v", got)
	}
}

// TestFailedSyncLosesData: a second sync that succeeds makes nothing durable of what the failed one
// should have written; writing it again does.
func TestFailedSyncLosesData(t *testing.T) {
	boom := errors.New("boom")
	m := vfs.NewMem()
	durableFile(t, m, "a", strings.Repeat("o", 1024))
	faulty := vfs.NewFaulty(m, vfs.FailAt(3, boom))
	f, err := faulty.Open("a")
	must(t, err)
	write(t, f, strings.Repeat("n", 1024), 0)
	if err := f.SyncData(); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	must(t, f.SyncData())
	if got := read(t, m, "a"); got != strings.Repeat("n", 1024) {
		t.Error("the page cache lost the data")
	}
	if got := read(t, m.CrashClone(nil), "a"); got != strings.Repeat("o", 1024) {
		t.Error("a repeated sync made the data durable")
	}
	write(t, f, "N", 0)
	must(t, f.SyncData())
	if got := read(t, m.CrashClone(nil), "a"); got != "N"+strings.Repeat("n", 511)+strings.Repeat("o", 512) {
		t.Error("writing a sector again and syncing did not make exactly that sector durable")
	}
}

// TestKilledSyncLosesNothing: a sync that a killed process did not get to is made up for by the next process.
func TestKilledSyncLosesNothing(t *testing.T) {
	m := vfs.NewMem()
	durableFile(t, m, "a", "old")
	f, err := vfs.NewFaulty(m, func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			return vfs.ErrKilled
		}
		return nil
	}).Open("a")
	must(t, err)
	write(t, f, "new", 0)
	if err := f.Sync(); !errors.Is(err, vfs.ErrKilled) {
		t.Fatal(err)
	}
	again, err := m.Open("a")
	must(t, err)
	must(t, again.Sync())
	if got := read(t, m.CrashClone(nil), "a"); got != "new" {
		t.Errorf("the next process's sync made %q durable", got)
	}
}

// TestMkdirAllSyncedAfterKill: wherever the first call is killed, a second one makes the directory durable.
func TestMkdirAllSyncedAfterKill(t *testing.T) {
	for k := uint64(1); ; k++ {
		m := vfs.NewMem()
		err := vfs.MkdirAllSynced(vfs.NewFaulty(m, vfs.FailFrom(k, vfs.ErrKilled)), "x/y/z")
		if err != nil && !errors.Is(err, vfs.ErrKilled) {
			t.Fatal(err)
		}
		must(t, vfs.MkdirAllSynced(m, "x/y/z"))
		if _, lost := m.CrashClone(nil).Stat("x/y/z"); lost != nil {
			t.Fatalf("killed at operation %d: %v", k, lost)
		}
		if err == nil {
			return
		}
	}
}
