package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestOptionsTellEverythingThatIsMissing(t *testing.T) {
	_, err := New(Options{})
	for _, field := range []string{"Name", "Group", "ID", "Transport", "Machine"} {
		if err == nil || !strings.Contains(err.Error(), field+" is missing") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestProposeRestart(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	for n, command := range []string{"a", "b", "c"} {
		if got := execute(t, p, command); got != n+1 {
			t.Errorf("%s is answered with %d, want %d", command, got, n+1)
		}
	}
	p = r.reopen(p)
	if r.machine.text() != "a,b,c" || r.machine.restored != 1 {
		t.Errorf("after a restart: %q, restored %d times; Close takes a snapshot", r.machine.text(), r.machine.restored)
	}
	execute(t, p, "d")
	r.close(p)
	r.close(p) // idempotent
	if p.State() != Closed {
		t.Errorf("closed, it is %s", p.State())
	}
	_, err := p.Execute(t.Context(), Proposal{Op: "append"})
	wantCode(t, err, errcode.ShuttingDown)
	wantCode(t, p.Snapshot(), errcode.ShuttingDown)
	wantCode(t, p.WaitReady(t.Context()), errcode.ShuttingDown)
}

// TestDiscardTakesNoSnapshot: the next start reads the log from its beginning.
func TestDiscardTakesNoSnapshot(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	execute(t, p, "a")
	if err := p.Discard(); err != nil {
		t.Fatal(err)
	}
	p = r.reopen(p)
	defer r.close(p)
	if r.machine.text() != "a" || r.machine.restored != 0 {
		t.Errorf("%q, restored %d times", r.machine.text(), r.machine.restored)
	}
}

func TestSnapshotOnDemand(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	newest := func() uint64 {
		t.Helper()
		if err := p.Snapshot(); err != nil {
			t.Fatal(err)
		}
		index, _, _ := p.stores.Snapshots.Newest()
		return index
	}
	execute(t, p, "a")
	first := newest()
	if again := newest(); again != first || first == 0 {
		t.Errorf("snapshots at %d and %d although nothing was written", first, again)
	}
	execute(t, p, "b")
	if second := newest(); second <= first {
		t.Errorf("snapshots at %d and %d", first, second)
	}
	r.close(p)
}

// TestRestoreRefusesWhatItCannotRead: an undecodable newest snapshot is not passed over for an older one.
func TestRestoreRefusesWhatItCannotRead(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	execute(t, p, "a")
	r.close(p)
	other := &unreadable{}
	q, err := New(Options{Name: "x", Group: "orders", ID: "1", Transport: r.connect, Machine: other})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Start(p.stores); !errors.Is(err, errUnreadable) {
		t.Errorf("start: %v", err)
	}
}

type unreadable struct{ listing }

var errUnreadable = errors.New("a snapshot of a newer version")

func (*unreadable) Restore(io.Reader) error { return errUnreadable }

// TestStaleLeadership: a proposal whose preconditions were checked under an earlier leadership is refused.
func TestStaleLeadership(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	l, err := p.Lead("append")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Propose(l+1, Proposal{Op: "append"}); !errcode.Is(err, errcode.NotLeaderOrFollower) {
		t.Errorf("got %v", err)
	}
	f, err := p.Propose(l, Proposal{Op: "append", Extensions: []byte("a")})
	if err != nil {
		t.Fatal(err)
	}
	if p.Pending() != 1 {
		t.Errorf("%d proposals are pending", p.Pending())
	}
	if answer, err := f.Wait(); answer != 1 || err != nil {
		t.Errorf("got %v, %v", answer, err)
	}
	if p.Pending() != 0 {
		t.Errorf("%d proposals are pending", p.Pending())
	}
}

// TestOverloaded: more proposals than Raft takes at once are refused, and none of them is lost.
func TestOverloaded(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	r.machine.stall = make(chan struct{})
	l, err := p.Lead("append")
	if err != nil {
		t.Fatal(err)
	}
	var futures []Future
	for n := 0; ; n++ {
		f, err := p.Propose(l, Proposal{Op: "append", Extensions: []byte(fmt.Sprint(n))})
		if err != nil {
			wantCode(t, err, errcode.Overloaded)
			break
		}
		futures = append(futures, f)
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Execute(late, Proposal{Op: "append"})
	wantCode(t, err, errcode.RequestTimedOut)
	close(r.machine.stall)
	for n, f := range futures {
		if answer, err := f.Wait(); answer != n+1 || err != nil {
			t.Fatalf("proposal %d is answered with %v, %v", n, answer, err)
		}
	}
	if len(futures) != maxPending {
		t.Errorf("%d proposals were taken, the bound is %d", len(futures), maxPending)
	}
	execute(t, p, "and on")
}

// TestGivesUpWaiting: the caller's patience ends, the entry takes effect nevertheless.
func TestGivesUpWaiting(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	r.machine.stall = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := p.Execute(ctx, Proposal{Op: "append", Extensions: []byte("a")})
		result <- err
	}()
	wait(t, "the proposal", func() bool { return p.Pending() == 1 })
	cancel()
	wantCode(t, <-result, errcode.RequestTimedOut)
	close(r.machine.stall)
	r.close(p) // waits for it
	if r.machine.text() != "a" {
		t.Errorf("the state is %q", r.machine.text())
	}
}

// TestCloseUnderLoad: what was acknowledged is there after a restart, and everybody is answered.
func TestCloseUnderLoad(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	var acknowledged sync.Map
	var total atomic.Int64
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for n := 0; ; n++ {
				command := fmt.Sprintf("%d/%d", w, n)
				if _, err := p.Execute(t.Context(), Proposal{Op: "append", Extensions: []byte(command)}); err != nil {
					if !errcode.Is(err, errcode.ShuttingDown) {
						t.Errorf("%s: %v", command, err)
					}
					return
				}
				acknowledged.Store(command, true)
				total.Add(1)
			}
		})
	}
	writers.Go(func() {
		for p.Snapshot() == nil {
			if total.Load() > 500 {
				return
			}
		}
	})
	wait(t, "500 commands", func() bool { return total.Load() > 500 })
	again := r.reopen(p)
	defer r.close(again)
	writers.Wait()
	have := strings.Split(r.machine.text(), ",")
	slices.Sort(have)
	acknowledged.Range(func(command, _ any) bool {
		if _, ok := slices.BinarySearch(have, command.(string)); !ok {
			t.Errorf("%s was acknowledged and is gone", command)
		}
		return true
	})
}

// TestApplyErrorIsNoSuccess: the entry that cannot be applied and all after it are refused, those before
// it are answered; no snapshot may claim that it was applied, and the replica stays stopped.
func TestApplyErrorIsNoSuccess(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	r.machine.stall, r.machine.refuse = make(chan struct{}), "poison"
	l, err := p.Lead("append")
	if err != nil {
		t.Fatal(err)
	}
	var futures []Future
	for _, command := range []string{"a", "b", "poison", "c", "d"} {
		f, err := p.Propose(l, Proposal{Op: "append", Extensions: []byte(command)})
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	close(r.machine.stall)
	for n, f := range futures {
		answer, err := f.Wait()
		if n < 2 {
			if answer != n+1 || err != nil {
				t.Errorf("proposal %d before it is answered with %v, %v", n, answer, err)
			}
			continue
		}
		if !errcode.Is(err, errcode.StorageFailed) || !errors.Is(err, errRefused) || answer != nil {
			t.Errorf("proposal %d is answered with %v, %v", n, answer, err)
		}
	}
	if p.State() != Failed || p.Failure() == nil {
		t.Errorf("it is %s, failure %v", p.State(), p.Failure())
	}
	wantCode(t, p.Snapshot(), errcode.StorageFailed)
	wantCode(t, p.WaitReady(t.Context()), errcode.StorageFailed)
	_, err = p.Execute(t.Context(), Proposal{Op: "append"})
	wantCode(t, err, errcode.StorageFailed)
	if index, _, ok := p.stores.Snapshots.Newest(); ok {
		t.Errorf("there is a snapshot at %d", index)
	}
	r.close(p)
	if _, _, ok := p.stores.Snapshots.Newest(); ok {
		t.Error("closing took a snapshot")
	}
	if r.machine.text() != "a,b" {
		t.Errorf("the state is %q", r.machine.text())
	}
	// A version that can apply it finds everything in the log.
	r.machine = &listing{}
	p = r.open()
	defer r.close(p)
	if r.machine.text() != "a,b,poison,c,d" {
		t.Errorf("after a restart: %q", r.machine.text())
	}
}

// TestFailedSync: the log fails for good. Everybody is answered with the reason, Raft ends, and Close
// still returns.
func TestFailedSync(t *testing.T) {
	var broken atomic.Bool
	fsys := vfs.NewFaulty(vfs.NewMem(), func(op vfs.Op) error {
		if broken.Load() && (op.Kind == vfs.OpSync || op.Kind == vfs.OpSyncData) {
			return syscall.EIO
		}
		return nil
	})
	r := newRig(t, fsys)
	var states []State
	r.onChange = func(s State) { states = append(states, s) }
	p := r.open()
	execute(t, p, "kept")
	broken.Store(true)
	_, err := p.Execute(t.Context(), Proposal{Op: "append", Extensions: []byte("lost")})
	wantCode(t, err, errcode.StorageFailed)
	if !errors.Is(err, syscall.EIO) || errcode.From(p.Failure()).Code != errcode.StorageFailed {
		t.Errorf("error %v, failure %v", err, p.Failure())
	}
	broken.Store(false)
	_, err = p.Execute(t.Context(), Proposal{Op: "append", Extensions: []byte("after")})
	wantCode(t, err, errcode.StorageFailed)
	_ = p.Close()
	_ = r.log.Close() // it may well complain
	p.mu.Lock()
	got := slices.Clone(states)
	p.mu.Unlock()
	if want := []State{CatchingUp, Ready, Failed, Closing, Closed}; !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
	r.machine, r.onChange = &listing{}, nil
	p = r.open()
	defer r.close(p)
	if !strings.HasPrefix(r.machine.text(), "kept") {
		t.Errorf("after a restart: %q", r.machine.text())
	}
}

// TestFailureBeforeTheStart: the log fails while the group is founded.
func TestFailureBeforeTheStart(t *testing.T) {
	fsys := vfs.NewFaulty(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind == vfs.OpSyncData {
			return syscall.EIO
		}
		return nil
	})
	r := newRig(t, fsys)
	p, err := r.start()
	if err == nil {
		r.close(p)
		t.Fatal("a replica on a log that cannot be synced started")
	}
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
}

// TestOpeningNeedsNoLeader: a replica that nobody elects opens, says what it is, and closes.
func TestOpeningNeedsNoLeader(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	connect := r.connect
	r.connect = func(name string) group.Transport { return passive{connect(name)} }
	r.timing = group.Timing{Heartbeat: time.Hour, Election: time.Hour, Lease: time.Hour}
	p, err := r.start()
	if err != nil {
		t.Fatal(err)
	}
	if p.State() != Follower {
		t.Errorf("it is %s", p.State())
	}
	_, err = p.Execute(t.Context(), Proposal{Op: "append"})
	wantCode(t, err, errcode.NotLeaderOrFollower)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.WaitReady(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "follower") {
		t.Errorf("got %v", err)
	}
	r.close(p)
}

// passive never campaigns.
type passive struct{ group.Transport }

func (passive) Campaign() error { return nil }

func TestErrorsHaveCodes(t *testing.T) {
	r := &Replica{}
	for err, want := range map[error]errcode.Code{
		raft.ErrRaftShutdown:                    errcode.ShuttingDown,
		raft.ErrNotLeader:                       errcode.NotLeaderOrFollower,
		raft.ErrLeadershipTransferInProgress:    errcode.NotLeaderOrFollower,
		raft.ErrLeadershipLost:                  errcode.RequestTimedOut,
		raft.ErrEnqueueTimeout:                  errcode.Overloaded,
		errStale:                                errcode.NotLeaderOrFollower,
		fmt.Errorf("write: %w", syscall.ENOSPC): errcode.DiskFull,
		fmt.Errorf("write: %w", syscall.EDQUOT): errcode.DiskFull,
		syscall.EIO:                             errcode.StorageFailed,
	} {
		got := r.Error("append orders/0", err)
		if !errcode.Is(got, want) || !errors.Is(got, err) || !strings.Contains(got.Detail, "append orders/0") {
			t.Errorf("%v became %v", err, got)
		}
	}
}
