package controller

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/stable"
	"github.com/wasmill/wasmill/raftstore/transport"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// childDir makes this test binary a broker's metadata that writes until it is killed.
const childDir = "WASMILL_METADATA_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

// child creates topics and prints the name of each one that was acknowledged.
func child(dir string) {
	stable, err := stable.Open(vfs.OS(), filepath.Join(dir, "stable.db"))
	if err == nil {
		var c *Controller
		if c, err = Open(options(dir, stable)); err == nil {
			err = c.WaitReady(context.Background())
		}
		for n := 0; err == nil; n++ {
			name := fmt.Sprintf("t%d", n)
			if _, err = c.Propose(context.Background(), metadata.CreateTopic{Name: name}); err == nil {
				_, err = fmt.Println(name)
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// options are those of a group of one voter on real files.
func options(dir string, s *stable.Store) Options {
	return Options{
		Dir: filepath.Join(dir, "metadata"), FS: vfs.OS(), ID: "1", Stable: s.Group(GroupName),
		Transport: func(string) group.Transport { return transport.NewLocal("1") }, SnapshotEvery: 8,
		Now: func() time.Time { return noon },
	}
}

// fixture is a controller on real files that can be closed and opened again.
type fixture struct {
	*Controller
	t      *testing.T
	dir    string
	stable *stable.Store
}

func openFixture(t *testing.T, dir string) *fixture {
	t.Helper()
	stable, err := stable.Open(vfs.OS(), filepath.Join(dir, "stable.db"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(options(dir, stable))
	if err != nil {
		t.Fatal(errors.Join(err, stable.Close()))
	}
	f := &fixture{Controller: c, t: t, dir: dir, stable: stable}
	if err := c.WaitReady(t.Context()); err != nil {
		f.close()
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f
}

func (f *fixture) close() {
	if err := errors.Join(f.Close(), f.stable.Close()); err != nil {
		f.t.Error(err)
	}
}

func (f *fixture) reopen() *fixture {
	f.t.Helper()
	f.close()
	return openFixture(f.t, f.dir)
}

func (f *fixture) propose(c metadata.Command) metadata.Result {
	f.t.Helper()
	r, err := f.Propose(f.t.Context(), c)
	if err != nil {
		f.t.Fatalf("%#v: %v", c, err)
	}
	return r
}

func TestControllerKeepsItsState(t *testing.T) {
	f := openFixture(t, t.TempDir())
	want := world(t)
	for _, c := range worldCommands() {
		r := f.propose(c)
		if f.Image().Version() < r.Version {
			t.Fatalf("%#v was acknowledged at version %d, but the image has %d", c, r.Version, f.Image().Version())
		}
	}
	for range 3 {
		if got := encode(t, f.Image()); !bytes.Equal(got, encode(t, want)) {
			t.Fatalf("got %s", got)
		}
		f = f.reopen()
	}
}

func TestControllerRefusesAndGoesOn(t *testing.T) {
	f := openFixture(t, t.TempDir())
	if _, err := f.Propose(t.Context(), metadata.CreateTopic{Name: ".."}); !errcode.Is(err, errcode.InvalidTopic) {
		t.Fatalf("got %v", err)
	}
	if _, err := f.Propose(t.Context(), metadata.PutView{Stages: []metadata.Stage{{Config: []byte("{")}}}); !errcode.Is(err, errcode.InvalidRequest) {
		t.Fatalf("got %v", err)
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Propose(late, metadata.CreateTopic{Name: "late"}); !errcode.Is(err, errcode.RequestTimedOut) {
		t.Fatalf("got %v", err)
	}
	f.propose(metadata.CreateTopic{Name: "a"})
	if f.Image().Version() != 1 || f.Image().Topic("late") != nil {
		t.Fatalf("got %s", encode(t, f.Image()))
	}
}

func TestControllerSnapshotsAndTrims(t *testing.T) {
	f := openFixture(t, t.TempDir())
	for n := range 60 {
		f.propose(metadata.CreateTopic{Name: fmt.Sprintf("t%d", n)})
	}
	want := encode(t, f.Image())
	f = f.reopen() // the last snapshot is taken at Close
	first, err := f.log.FirstIndex()
	if err != nil || first < 10 {
		t.Fatalf("log still begins at %d, %v", first, err)
	}
	if oldest, _, ok := f.snapshots.Oldest(); !ok || first > oldest+1 {
		t.Fatalf("log begins at %d, oldest snapshot ends at %d", first, oldest)
	}
	if !bytes.Equal(encode(t, f.Image()), want) {
		t.Fatal("the state is another one")
	}
}

func newestSnapshot(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "metadata", "snapshots", "*.snap"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return files[len(files)-1]
}

func TestControllerSurvivesADamagedSnapshot(t *testing.T) {
	f := openFixture(t, t.TempDir())
	for n := range 30 {
		f.propose(metadata.CreateTopic{Name: fmt.Sprintf("t%d", n)})
		if n == 10 {
			f = f.reopen() // one snapshot here, one at the end
		}
	}
	want := encode(t, f.Image())
	f.close()
	path := newestSnapshot(t, f.dir)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-5] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f = openFixture(t, f.dir)
	if !bytes.Equal(encode(t, f.Image()), want) {
		t.Fatalf("got %s, want %s", encode(t, f.Image()), want)
	}
}

// A downgraded broker must say so, and not quietly start from an older snapshot.
func TestControllerRefusesANewerSnapshot(t *testing.T) {
	f := openFixture(t, t.TempDir())
	f.propose(metadata.CreateTopic{Name: "a"})
	f = f.reopen()
	f.propose(metadata.CreateTopic{Name: "b"})
	data := encode(t, f.Image())
	f.close()

	data[8]++
	snapshots, err := snapshot.Open(vfs.OS(), filepath.Join(f.dir, "metadata", "snapshots"), snapshot.Options{Retain: 2})
	if err != nil {
		t.Fatal(err)
	}
	list, err := snapshots.List()
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	sink, err := snapshots.Create(raft.SnapshotVersionMax, list[0].Index, list[0].Term, list[0].Configuration, list[0].ConfigurationIndex, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}

	stable, err := stable.Open(vfs.OS(), filepath.Join(f.dir, "stable.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stable.Close() }()
	if _, err := Open(options(f.dir, stable)); !errors.Is(err, metadata.ErrSnapshotVersion) {
		t.Fatalf("got %v", err)
	}
}

func TestControllerIsOpenOnce(t *testing.T) {
	f := openFixture(t, t.TempDir())
	if c, err := Open(options(f.dir, f.stable)); err == nil {
		t.Fatal("two controllers on one directory", c.Close())
	} else if !strings.Contains(err.Error(), "open in another process") {
		t.Fatalf("the error does not say why: %v", err)
	}
	if _, err := Open(Options{}); err == nil {
		t.Fatal("a controller of nothing")
	}
}

// Everything that was acknowledged is there after a kill in the middle of writing.
func TestControllerSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := 0
	for run := range 3 {
		// The names start over in each run, so each run has a directory of its own below.
		runDir := filepath.Join(dir, fmt.Sprint(run))
		if err := os.Mkdir(runDir, 0o700); err != nil {
			t.Fatal(err)
		}
		names := killAfter(t, runDir, 10+7*run)
		f := openFixture(t, runDir)
		for _, name := range names {
			if f.Image().Topic(name) == nil {
				t.Errorf("run %d: topic %s was acknowledged and is gone", run, name)
			}
		}
		acknowledged += len(names)
		f.propose(metadata.CreateTopic{Name: "after"})
	}
	if acknowledged < 51 {
		t.Fatalf("only %d were acknowledged", acknowledged)
	}
}

// killAfter runs a child until it has acknowledged n topics, kills it, and returns all that it said.
func killAfter(t *testing.T, dir string, n int) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var names []string
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		names = append(names, lines.Text())
		if len(names) == n {
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(names) < n {
		t.Fatalf("child ended with %v after %d names", err, len(names))
	}
	return names
}

func TestControllerClosesUnderLoad(t *testing.T) {
	f := openFixture(t, t.TempDir())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := 0; ; n++ {
				_, err := f.Propose(t.Context(), metadata.CreateTopic{Name: fmt.Sprintf("w%d-%d", w, n)})
				if err != nil {
					if code := errcode.From(err).Code; code != errcode.ShuttingDown && code != errcode.RequestTimedOut && code != errcode.NotLeaderOrFollower {
						t.Errorf("writer %d: %v", w, err)
					}
					return
				}
			}
		})
	}
	if _, err := f.WaitVersion(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	f.close()
	writers.Wait()
	want := encode(t, f.Image())
	if _, err := f.Propose(t.Context(), metadata.CreateTopic{Name: "x"}); !errcode.Is(err, errcode.ShuttingDown) {
		t.Fatalf("after Close: %v", err)
	}
	f = openFixture(t, f.dir)
	got, err := metadata.DecodeImage(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range got.Topics() {
		if f.Image().Topic(topic.Name) == nil {
			t.Errorf("%s was applied and is gone", topic.Name)
		}
	}
}

func TestWaitVersion(t *testing.T) {
	f := openFixture(t, t.TempDir())
	seen := make(chan uint64)
	go func() {
		image, err := f.WaitVersion(t.Context(), 1)
		if err != nil {
			t.Error(err)
		}
		seen <- image.Version()
	}()
	f.propose(metadata.CreateTopic{Name: "a"})
	f.propose(metadata.CreateTopic{Name: "b"})
	if v := <-seen; v < 2 {
		t.Fatalf("woken at version %d", v)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.WaitVersion(ctx, 100); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestProducerIDsAreUnique(t *testing.T) {
	f := openFixture(t, t.TempDir())
	seen := sync.Map{}
	take := func(ids *ProducerIDs, n int) {
		for range n {
			id, err := ids.Next(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if _, twice := seen.LoadOrStore(id, true); twice {
				t.Errorf("%d was given out twice", id)
			}
		}
	}
	var all sync.WaitGroup
	one, other := NewProducerIDs(f.Propose), NewProducerIDs(f.Propose)
	for range 2 {
		all.Go(func() { take(one, 700) })
		all.Go(func() { take(other, 600) })
	}
	all.Wait()
	f = f.reopen()
	take(NewProducerIDs(f.Propose), 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.close()
	if _, err := NewProducerIDs(f.Propose).Next(ctx); errcode.From(err).Code == errcode.Unknown {
		t.Fatalf("got %v", err)
	}
}

// TestWaitChange: a block of producer ids wakes nobody who acts on topics, and what came before it in the
// meantime is not missed.
func TestWaitChange(t *testing.T) {
	f := openFixture(t, t.TempDir())
	type change struct {
		image   *metadata.Image
		changes metadata.Changes
	}
	seen := make(chan change)
	wait := func(since *metadata.Image) {
		image, changes, err := f.WaitChange(t.Context(), since)
		if err != nil {
			t.Error(err)
		}
		seen <- change{image, changes}
	}
	empty := f.Image()
	go wait(empty)
	f.propose(metadata.AllocateProducerIDs{Count: 5})
	f.propose(metadata.AllocateProducerIDs{Count: 5})
	f.propose(metadata.CreateTopic{Name: "a"})
	got := <-seen
	if !slices.Equal(got.changes.Topics, []string{"a"}) || got.image.Topic("a") == nil {
		t.Errorf("changes %+v", got.changes)
	}
	f.propose(metadata.CreateTopic{Name: "b"})
	f.propose(metadata.AllocateProducerIDs{Count: 5})
	go wait(empty)
	if got := <-seen; !slices.Equal(got.changes.Topics, []string{"a", "b"}) {
		t.Errorf("changes since the start %+v", got.changes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.WaitChange(ctx, f.Image()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
