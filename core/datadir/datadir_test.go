package datadir

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

func open(t *testing.T, fsys vfs.FS) *Dir {
	t.Helper()
	d, err := Open(fsys, "/data", "v1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// TestLayoutIsThatOfTheFirstVersion spells every path out: data directories of earlier versions must open.
func TestLayoutIsThatOfTheFirstVersion(t *testing.T) {
	l := At("/data")
	orders := Topic{Name: "orders", ID: 7}
	long := Topic{Name: strings.Repeat("n", 249), ID: 12}
	for got, want := range map[string]string{
		l.Root():               "/data",
		l.Stable():             "/data/stable.db",
		l.Metadata():           "/data/metadata",
		l.Modules():            "/data/modules",
		l.CompileCache():       "/data/wasm-cache",
		l.Recycle():            "/data/recycle",
		l.Topic(orders):        "/data/partitions/orders.7",
		l.Partition(orders, 3): "/data/partitions/orders.7/3",
		l.Topic(long):          "/data/partitions/" + strings.Repeat("n", 200) + ".12",
		GroupName(7, 3):        "partition/7/3",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestNamesAreReadBack(t *testing.T) {
	if id, number, ok := ParseGroup(GroupName(7, 3)); id != 7 || number != 3 || !ok {
		t.Errorf("group: %d, %d, %v", id, number, ok)
	}
	for _, name := range []string{"metadata", "partition/", "partition/7", "partition/x/1", "partition/7/-1", "partition/7/x", "partition/7/1/2"} {
		if _, _, ok := ParseGroup(name); ok {
			t.Errorf("%q passes for a partition's group", name)
		}
	}
	want := Topic{Name: "a.b.1", ID: 9}
	if got, ok := parseTopicDir(want.dirName()); !ok || got != want {
		t.Errorf("topic directory: %+v, %v", got, ok)
	}
	for _, name := range []string{"orders", "orders.", "orders.x", ".7", "no number"} {
		if got, ok := parseTopicDir(name); ok {
			t.Errorf("%q passes for the directory of %+v", name, got)
		}
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	fsys := vfs.NewMem()
	d := open(t, fsys)
	if _, err := Open(fsys, "/data", "v1"); !errors.Is(err, ErrInUse) {
		t.Errorf("%v, want ErrInUse", err)
	}
	if _, err := Lock(fsys, "/data"); !errors.Is(err, ErrInUse) {
		t.Errorf("lock alone: %v, want ErrInUse", err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	open(t, fsys)
}

func TestFormatFile(t *testing.T) {
	for text, want := range map[string]error{
		`{"format":1,"created_by":"v0"}`: nil,
		`{"format":2,"created_by":"v9"}`: ErrNewer,
		`{"format":`:                     ErrUnusable,
		``:                               ErrUnusable,
	} {
		fsys := vfs.NewMem()
		if err := errors.Join(vfs.MkdirAllSynced(fsys, "/data"), vfs.ReplaceFileSynced(fsys, "/data/wasmill.json", []byte(text))); err != nil {
			t.Fatal(err)
		}
		d, err := Open(fsys, "/data", "v1")
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
		if err == nil {
			err = d.Close()
		}
		if want == nil && err != nil {
			t.Error(err)
		}
		lock, err := Lock(fsys, "/data")
		if err != nil {
			t.Fatalf("%q: a refusal, or Close, keeps the lock: %v", text, err)
		}
		lock.Close()
	}
}

func TestNewDirectorySaysItsFormat(t *testing.T) {
	fsys := vfs.NewMem()
	open(t, fsys)
	f, err := fsys.OpenReadOnly("/data/wasmill.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := make([]byte, 100)
	n, _ := f.ReadAt(text, 0) // its error is the end of the file
	if got, want := string(text[:n]), "{\"format\":1,\"created_by\":\"v1\"}\n"; got != want {
		t.Errorf("wasmill.json holds %q, want %q", got, want)
	}
}

func TestUnusableDirectory(t *testing.T) {
	broken := errors.New("broken")
	fsys := vfs.NewFaulty(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind == vfs.OpMkdirAll {
			return broken
		}
		return nil
	})
	if _, err := Open(fsys, "/data", "v1"); !errors.Is(err, ErrUnusable) || !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestFindLooksUpwards(t *testing.T) {
	fsys := vfs.NewMem()
	d := open(t, fsys)
	deep := d.Partition(Topic{Name: "orders", ID: 7}, 0)
	for _, dir := range []string{"/data", d.Topic(Topic{Name: "orders", ID: 7}), deep} {
		if l, ok := Find(fsys, dir); !ok || l.Root() != "/data" {
			t.Errorf("from %s: %q, %v", dir, l.Root(), ok)
		}
	}
	for _, dir := range []string{"/", "/elsewhere", deep + "/snapshots/x"} {
		if l, ok := Find(fsys, dir); ok {
			t.Errorf("from %s: %q", dir, l.Root())
		}
	}
}

func mkdirs(t *testing.T, fsys vfs.FS, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := fsys.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPartitionsInOrder(t *testing.T) {
	fsys := vfs.NewMem()
	d := open(t, fsys)
	if _, err := d.Partitions(fsys); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without partitions: %v", err)
	}
	a, b := Topic{Name: "a", ID: 10}, Topic{Name: "b", ID: 2}
	mkdirs(t, fsys, d.Partition(b, 0), d.Partition(a, 10), d.Partition(a, 9), "/data/partitions/foreign/0", d.Topic(a)+"/x", d.Topic(a)+"/-1")
	got, err := d.Partitions(fsys)
	want := []Partition{{a, 9, d.Partition(a, 9)}, {a, 10, d.Partition(a, 10)}, {b, 0, d.Partition(b, 0)}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// groups is a GroupStore in memory.
type groups []string

func (g *groups) Groups() []string { return slices.Clone(*g) }

func (g *groups) DeleteGroup(name string) error {
	if name == "partition/3/0" {
		return errors.New("cannot delete " + name)
	}
	*g = slices.DeleteFunc(*g, func(s string) bool { return s == name })
	return nil
}

// TestSweepTakesWhatWasDeleted: directories and groups of deleted topics go, others stay, and a step that
// fails keeps none of the others from being done.
func TestSweepTakesWhatWasDeleted(t *testing.T) {
	fsys := vfs.NewMem()
	d := open(t, fsys)
	deleted := func(id uint64) bool { return id == 1 || id == 3 }
	if err := d.Sweep(&groups{}, deleted, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("a new directory: %v", err)
	}
	mkdirs(t, fsys, "/data/partitions/gone.1/0", "/data/partitions/gone.3/0", "/data/partitions/stays.2/0", "/data/partitions/no number")
	stored := groups{"metadata", "partition/1/0", "partition/2/0", "partition/3/0", "partition/1/1"}
	err := d.Sweep(&stored, deleted, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "partition/3/0") {
		t.Errorf("the failure is not reported: %v", err)
	}
	if want := []string{"metadata", "partition/2/0", "partition/3/0"}; !slices.Equal(stored, want) {
		t.Errorf("groups %v, want %v", stored, want)
	}
	entries, err := fsys.ReadDir("/data/partitions")
	if err != nil || len(entries) != 2 || entries[0].Name() != "no number" || entries[1].Name() != "stays.2" {
		t.Errorf("directories %v, %v", entries, err)
	}
	if err := d.RemoveTopic(Topic{Name: "stays", ID: 2}); err != nil {
		t.Error(err)
	}
	if _, err := fsys.Stat("/data/partitions/stays.2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed topic: %v", err)
	}
}
