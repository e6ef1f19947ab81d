package group

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/boltlog"
	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/stable"
	"github.com/wasmill/wasmill/raftstore/transport"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// tally is a state machine that lists the commands it got. It implements raft.BatchingFSM.
type tally struct {
	mu             sync.Mutex
	commands       []string
	configurations int
	restores       int
}

func (f *tally) ApplyBatch(logs []*raft.Log) []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]any, len(logs))
	for i, l := range logs {
		if l.Type == raft.LogConfiguration {
			f.configurations++
			continue
		}
		f.commands = append(f.commands, string(l.Data))
		out[i] = len(f.commands)
	}
	return out
}

func (f *tally) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

func (f *tally) state() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.commands, ",")
}

func (f *tally) Snapshot() (raft.FSMSnapshot, error) { return tallySnapshot(f.state()), nil }

func (f *tally) Restore(r io.ReadCloser) error {
	b, err := io.ReadAll(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restores++
	f.commands = nil
	if len(b) > 0 {
		f.commands = strings.Split(string(b), ",")
	}
	return err
}

type tallySnapshot string

func (s tallySnapshot) Persist(sink raft.SnapshotSink) error {
	_, err := io.WriteString(sink, string(s))
	return errors.Join(err, sink.Close())
}

func (tallySnapshot) Release() {}

// member is what a one-voter group keeps over restarts.
type member struct {
	log       raft.LogStore
	stable    raft.StableStore
	disk      vfs.FS // of snapshots
	snapshots *snapshot.Store
}

func newMember(t testing.TB) member {
	disk := vfs.NewMem()
	return member{log: raft.NewInmemStore(), stable: raft.NewInmemStore(), disk: disk, snapshots: openSnapshots(t, disk, "snapshots")}
}

func (m member) options(fsm raft.FSM) Options {
	return Options{Name: "orders/0", ID: "n1", Log: m.log, Stable: m.stable, Snapshots: m.snapshots,
		Transport: transport.NewLocal("n1"), FSM: fsm}
}

// startLeader starts a group and waits until it leads and its state machine has caught up.
func startLeader(t testing.TB, o Options) *Group {
	t.Helper()
	g, err := Start(o)
	mustDo(t, err)
	t.Cleanup(func() { mustDo(t, g.Close()) })
	mustDo(t, g.WaitLeader(t.Context()))
	mustDo(t, g.Raft().Barrier(0).Error())
	return g
}

func apply(t testing.TB, g *Group, command string) {
	t.Helper()
	mustDo(t, g.Raft().Apply([]byte(command), 0).Error())
}

// TestGroupStartsAtOnce: with timers of an hour, and time that only passes when everything waits, a
// group leads and commits in no time. Without Campaign the same start takes the election timeout.
func TestGroupStartsAtOnce(t *testing.T) {
	start := func(t *testing.T, tr Transport) (toLead, toCommit time.Duration) {
		o := newMember(t).options(&tally{})
		o.Transport = tr
		o.Timing = Timing{Heartbeat: time.Hour, Election: time.Hour, Lease: time.Hour, Commit: time.Hour}
		begin := time.Now()
		g := startLeader(t, o)
		toLead = time.Since(begin)
		for i := range 100 {
			apply(t, g, fmt.Sprint(i))
		}
		return toLead, time.Since(begin) - toLead
	}
	synctest.Test(t, func(t *testing.T) {
		toLead, toCommit := start(t, transport.NewLocal("n1"))
		if toLead != 0 {
			t.Errorf("the group led only after %v", toLead)
		}
		if toCommit != 0 {
			t.Errorf("100 commits waited %v for timers", toCommit)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if toLead, _ := start(t, passive{transport.NewLocal("n1")}); toLead < time.Hour {
			t.Errorf("without a campaign the group led after %v: the test proves nothing", toLead)
		}
	})
}

// passive forgets to campaign.
type passive struct{ Transport }

func (passive) Campaign() error { return nil }

// TestManyGroups is a broker in small: many groups share one stable store; all of them come back.
func TestManyGroups(t *testing.T) {
	noLeaks(t)
	const count = 200
	name := filepath.Join(t.TempDir(), "stable")
	fsys := vfs.NewMem()
	logs := make([]raft.LogStore, count)
	for i := range logs {
		logs[i] = raft.NewInmemStore()
	}
	for round := 1; round <= 2; round++ {
		s, err := stable.Open(vfs.OS(), name)
		mustDo(t, err)
		groups, machines := make([]*Group, count), make([]*tally, count)
		for i := range groups {
			name := fmt.Sprintf("orders/%d", i)
			snapshots := openSnapshots(t, fsys, name)
			machines[i] = &tally{}
			groups[i], err = Start(Options{Name: name, ID: "n1", Log: logs[i], Stable: s.Group(name),
				Snapshots: snapshots, Transport: transport.NewLocal("n1"), FSM: machines[i]})
			mustDo(t, err)
		}
		for i, g := range groups {
			mustDo(t, g.WaitLeader(t.Context()))
			apply(t, g, fmt.Sprintf("%d in round %d", i, round))
		}
		for i, g := range groups {
			want := fmt.Sprintf("%d in round 1", i)
			if round == 2 {
				want += fmt.Sprintf(",%d in round 2", i)
			}
			if got := machines[i].state(); got != want {
				t.Errorf("state of %s is %q, want %q", g.Name(), got, want)
			}
			mustDo(t, g.Close())
		}
		if n := len(s.Groups()); n != count {
			t.Errorf("%d groups have stable state", n)
		}
		mustDo(t, s.Close())
	}
}

// TestGroupOverBoltDB: the metadata group has its log in one bbolt file, and its term in another.
func TestGroupOverBoltDB(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	snapshots := openSnapshots(t, vfs.OS(), filepath.Join(dir, "snapshots"))
	votes := openStable(t, filepath.Join(dir, "stable"))
	var want []string
	for round := range 3 {
		store, err := boltlog.Open(vfs.OS(), filepath.Join(dir, "raft.db"), func(error) {})
		mustDo(t, err)
		fsm := &tally{}
		g := startLeader(t, member{log: store, stable: votes.Group("metadata"), snapshots: snapshots}.options(fsm))
		for i := range 5 {
			apply(t, g, fmt.Sprint(round, i))
			want = append(want, fmt.Sprint(round, i))
		}
		if got := fsm.state(); got != strings.Join(want, ",") {
			t.Errorf("round %d: state %s", round, got)
		}
		if round == 1 {
			mustDo(t, g.Raft().Snapshot().Error())
		}
		if fsm.restores != round/2 {
			t.Errorf("round %d: %d restores", round, fsm.restores)
		}
		mustDo(t, errors.Join(g.Close(), store.Close()))
	}
}

// applyOnly hides that a tally takes batches.
type applyOnly struct{ raft.FSM }

// TestSnapshotAfterConfiguration: configuration entries advance a batching state machine, so that raft
// takes a snapshot although the last entry is one; with a plain state machine it refuses.
func TestSnapshotAfterConfiguration(t *testing.T) {
	noLeaks(t)
	snapshotAfterChange := func(fsm raft.FSM) (*snapshot.Store, error) {
		m := newMember(t)
		g := startLeader(t, m.options(fsm))
		mustDo(t, g.Raft().AddNonvoter("n2", "n2", 0, 0).Error())
		err := g.Raft().Snapshot().Error()
		return m.snapshots, errors.Join(err, g.Close())
	}
	fsm := &tally{}
	s, err := snapshotAfterChange(fsm)
	mustDo(t, err)
	list, err := s.List()
	mustDo(t, err)
	if n := len(list[0].Configuration.Servers); n != 2 || fsm.configurations != 2 {
		t.Errorf("snapshot names %d servers after %d configurations", n, fsm.configurations)
	}
	if _, err := snapshotAfterChange(applyOnly{&tally{}}); err == nil {
		t.Error("a state machine without batches took a snapshot: the test proves nothing")
	}
}

func TestGroupRestoresSnapshot(t *testing.T) {
	noLeaks(t)
	m := newMember(t)
	g := startLeader(t, m.options(&tally{}))
	apply(t, g, "a")
	mustDo(t, g.Raft().Snapshot().Error())
	first, _, _ := m.snapshots.Newest()
	apply(t, g, "b")
	mustDo(t, g.Raft().Snapshot().Error())
	apply(t, g, "c")
	mustDo(t, g.Close())

	fsm := &tally{}
	g = startLeader(t, m.options(fsm))
	if got := fsm.state(); got != "a,b,c" || fsm.restores != 1 {
		t.Errorf("state %q after %d restores", got, fsm.restores)
	}
	mustDo(t, g.Close())

	fsm = &tally{}
	o := m.options(fsm)
	o.SkipRestore = true
	g = startLeader(t, o)
	if got := fsm.state(); got != "c" || fsm.restores != 0 {
		t.Errorf("a state machine that restores itself: state %q, %d restores", got, fsm.restores)
	}
	mustDo(t, g.Close())

	// The newest one is damaged: the older one serves, and somebody is told.
	newest, _, _ := m.snapshots.Newest()
	list, err := m.snapshots.List()
	mustDo(t, err)
	damage(t, m.disk, list[0].ID)
	var logged bytes.Buffer
	fsm = &tally{}
	o = m.options(fsm)
	o.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelError}))
	g = startLeader(t, o)
	if got := fsm.state(); got != "a,b,c" || fsm.restores != 1 {
		t.Errorf("state %q after %d restores", got, fsm.restores)
	}
	mustDo(t, g.Close())
	if !strings.Contains(logged.String(), fmt.Sprintf("%020d", newest)) || !strings.Contains(logged.String(), "orders/0") {
		t.Errorf("the damage was not logged: %s", logged.String())
	}

	// The log does not reach back to the older one: no start, and no panic either.
	mustDo(t, m.log.DeleteRange(1, first+1))
	if _, err := Start(m.options(&tally{})); !errors.Is(err, ErrHistoryGap) {
		t.Errorf("start with a gap in the history: %v", err)
	}
}

// damage flips a bit of the snapshot's last byte.
func damage(t *testing.T, fsys vfs.FS, id string) {
	t.Helper()
	f, err := fsys.Open(path.Join("snapshots", id+".snap"))
	mustDo(t, err)
	size, err := f.Size()
	mustDo(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, size-1)
	mustDo(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, size-1)
	mustDo(t, errors.Join(err, f.Close()))
}

// brittle is a log whose first StoreLog fails, as when the process dies there.
type brittle struct {
	raft.LogStore
	broken bool
}

func (b *brittle) StoreLog(l *raft.Log) error {
	if b.broken {
		return errPowerLoss
	}
	return b.LogStore.StoreLog(l)
}

// TestBootstrapSurvivesCrash: the term is stored and the first entry is not.
func TestBootstrapSurvivesCrash(t *testing.T) {
	noLeaks(t)
	m := newMember(t)
	log := &brittle{LogStore: m.log, broken: true}
	m.log = log
	if _, err := Start(m.options(&tally{})); !errors.Is(err, errPowerLoss) {
		t.Fatalf("start on a broken disk: %v", err)
	}
	if has, err := raft.HasExistingState(m.log, m.stable, m.snapshots); !has || err != nil {
		t.Fatalf("nothing was stored before the crash (%v): the test proves nothing", err)
	}
	log.broken = false
	g := startLeader(t, m.options(&tally{}))
	apply(t, g, "a")
	mustDo(t, g.Close())

	m.log = raft.NewInmemStore()
	if _, err := Start(m.options(&tally{})); !errors.Is(err, ErrLogLost) {
		t.Errorf("start after the log was lost: %v", err)
	}
}

func TestGroupLeadership(t *testing.T) {
	noLeaks(t)
	var calls []bool
	o := newMember(t).options(&tally{})
	o.OnLeadership = func(leads bool) { calls = append(calls, leads) }
	g := startLeader(t, o)
	if g.Raft().State() != raft.Leader {
		t.Error("the only voter does not lead")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { mustDo(t, g.Close()) })
	}
	wg.Wait()
	if !slices.Equal(calls, []bool{true, false}) {
		t.Errorf("leadership was %v", calls)
	}
	if err := g.WaitLeader(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("waiting on a closed group: %v", err)
	}
}

func TestWaitLeaderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newMember(t).options(&tally{})
		o.Transport = passive{o.Transport}
		g, err := Start(o)
		mustDo(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		waited := make(chan error, 1)
		go func() { waited <- g.WaitLeader(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		go func() { waited <- g.WaitLeader(t.Context()) }()
		synctest.Wait()
		mustDo(t, g.Close())
		if err := <-waited; !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestGroupOptionsValidate(t *testing.T) {
	_, err := Start(Options{})
	for _, field := range []string{"Name", "ID", "Log", "Stable", "Snapshots", "Transport", "FSM"} {
		if err == nil || !strings.Contains(err.Error(), ": "+field+" is missing") {
			t.Errorf("%s is not reported: %v", field, err)
		}
	}
	noLeaks(t)
	o := newMember(t).options(&tally{})
	o.Timing.Lease = time.Hour // longer than the heartbeat
	if g, err := Start(o); err == nil {
		mustDo(t, g.Close())
		t.Error("a lease longer than the heartbeat was accepted")
	}
}

// TestLeadershipEndsBeforeTheNextBegins: while OnLeadership(false) has not returned, raft does not work as
// the leader again, however fast it is re-elected. Time passes only when all goroutines wait.
func TestLeadershipEndsBeforeTheNextBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newMember(t).options(&tally{})
		o.Timing = Timing{Heartbeat: time.Hour, Election: time.Hour, Lease: time.Hour, Commit: time.Hour}
		lost, release := make(chan struct{}, 2), make(chan struct{})
		o.OnLeadership = func(leads bool) {
			if !leads {
				lost <- struct{}{}
				<-release
			}
		}
		g := startLeader(t, o)
		mustDo(t, o.Transport.Campaign()) // the leader steps down and is elected again
		<-lost
		synctest.Wait()
		applied := make(chan error, 1)
		go func() { applied <- g.Raft().Barrier(0).Error() }()
		synctest.Wait()
		select {
		case err := <-applied:
			t.Errorf("raft answered as the leader before the end of its last leadership was handled: %v", err)
			applied <- err
		default:
		}
		close(release)
		mustDo(t, <-applied)
	})
}
