package partition

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/replica"
	"github.com/wasmill/wasmill/core/replica/replicatest"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// replicas are a partition on three brokers.
type replicas struct {
	t       *testing.T
	network *replicatest.Network
	all     map[raft.ServerID]*Partition
}

func startReplicas(t *testing.T, change func(*Config)) *replicas {
	t.Helper()
	rs := &replicas{t: t, network: replicatest.New("a", "b", "c"), all: map[raft.ServerID]*Partition{}}
	for _, id := range []raft.ServerID{"a", "b", "c"} {
		r := newRig(t, vfs.NewMem())
		if change != nil {
			change(&r.config)
		}
		l, err := log.Open(r.fs, "data/0", log.Options{SegmentBytes: r.config.SegmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		rs.network.Seed(t, l, r.stable)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		r.id, r.transport, r.timing = id, rs.network.Transport(id), replicatest.Timing
		p, err := r.tryOpen()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.close(p) })
		rs.all[id] = p
	}
	return rs
}

// elect makes a replica the leader. It may still be catching up.
func (rs *replicas) elect(id raft.ServerID) *Partition {
	rs.t.Helper()
	p := rs.all[id]
	rs.network.Elect(rs.t, id, func() bool { s := p.replica.State(); return s == replica.CatchingUp || s == replica.Ready })
	return p
}

// lead makes a replica the leader and waits until it takes writes.
func (rs *replicas) lead(id raft.ServerID) *Partition {
	rs.t.Helper()
	p := rs.elect(id)
	if err := p.WaitReady(rs.t.Context()); err != nil {
		rs.t.Fatal(err)
	}
	return p
}

// caughtUp waits until a replica has applied what the leader has.
func (rs *replicas) caughtUp(p, leader *Partition) {
	rs.t.Helper()
	want := leader.Bounds()
	replicatest.Await(rs.t, fmt.Sprintf("the follower has %+v", want), func() bool { return p.Bounds() == want })
}

// TestNewLeaderKnowsARetry: a leader that has a batch in its log and has not applied it yet must neither
// write its repetition nor guess about it.
func TestNewLeaderKnowsARetry(t *testing.T) {
	rs := startReplicas(t, nil)
	a, b := rs.lead("a"), rs.all["b"]
	appendValues(t, a, nil, "first")
	rs.caughtUp(b, a)
	b.stateMu.Lock() // it can apply nothing from here on
	stalled := true
	defer func() {
		if stalled {
			b.stateMu.Unlock()
		}
	}()
	producer := &record.Producer{ID: 7}
	position := OffsetPosition("derivation/1/0", 9)
	done, err := a.Append(t.Context(), Append{Data: batchOf(t, 0, producer, "once"), Positions: []Position{position}})
	if err != nil {
		t.Fatal(err)
	}
	last, err := a.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	replicatest.Await(t, "b has the entry", func() bool { index, err := b.log.LastIndex(); return err == nil && index >= last })
	rs.elect("b")
	retry := batchOf(t, 0, producer, "once")
	_, err = b.Append(t.Context(), Append{Data: retry})
	wantCode(t, err, errcode.NotLeaderOrFollower)
	_, err = b.Peek(retry)
	wantCode(t, err, errcode.NotLeaderOrFollower)
	_, _, err = b.Position(t.Context(), position.Origin)
	wantCode(t, err, errcode.NotLeaderOrFollower)
	if b.Leads() {
		t.Error("a leader that is catching up says that it takes writes")
	}
	b.stateMu.Unlock()
	stalled = false
	if err := b.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := b.Append(t.Context(), Append{Data: retry})
	if err != nil || !again.Duplicate || again.BaseOffset != done.BaseOffset {
		t.Errorf("the retry: %+v, %v; the first was %+v", again, err, done)
	}
	if saved, ok, err := b.Position(t.Context(), position.Origin); err != nil || !ok || saved != position {
		t.Errorf("position %+v, %v, %v", saved, ok, err)
	}
	if got := strings.Join(values(t, b, 0), ","); got != "first,once" {
		t.Errorf("the records are %q", got)
	}
}

// TestWhatWasPendingBeforeCountsNoLonger: an append of the last leadership whose goroutine has not run yet
// neither lets its successor in nor makes its repetition wait.
func TestWhatWasPendingBeforeCountsNoLonger(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	appendValues(t, p, &record.Producer{ID: 1}, "0")
	leadership, err := p.lead("append")
	if err != nil {
		t.Fatal(err)
	}
	lost := &pendingAppend{
		proposal: newProposal(leadership-1, nil, nil), positions: []Position{OffsetPosition("o", 5)},
		seq: sequenced{id: 1, first: 1, last: 1},
	}
	p.mu.Lock()
	p.trackLocked(lost)
	p.mu.Unlock()
	_, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, &record.Producer{ID: 1, BaseSequence: 2}, "2")})
	if e := wantCode(t, err, errcode.OutOfOrderSequence); e.Fields["expected_sequence"] != int32(1) {
		t.Errorf("fields %v", e.Fields)
	}
	appendValues(t, p, &record.Producer{ID: 1, BaseSequence: 1}, "1")
	if _, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, "x"), Positions: lost.positions}); err != nil {
		t.Error(err)
	}
	p.untrack(lost)
	if got := strings.Join(values(t, p, 0), ""); got != "01x" {
		t.Errorf("the records are %q", got)
	}
}

// TestOpenProposalEndsWithItsLeadership: requests that were checked under the last leadership are refused,
// and do not drag those along that come under the next.
func TestOpenProposalEndsWithItsLeadership(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	for range sharedPending { // so that a shared proposal stays open
		p.appender.slots <- struct{}{}
	}
	p.mu.Lock()
	leadership, err := p.lead("append")
	if err != nil {
		t.Fatal(err)
	}
	stale := newProposal(leadership-1, nil, nil)
	stale.shared = true
	p.open = stale
	p.life.work.Go(func() { p.runShared(stale) })
	p.mu.Unlock()
	appendValues(t, p, nil, "a") // it would have joined
	for range sharedPending {
		<-p.appender.slots
	}
	<-stale.done
	wantCode(t, stale.err, errcode.NotLeaderOrFollower)
	if got := strings.Join(values(t, p, 0), ""); got != "a" {
		t.Errorf("the records are %q", got)
	}
}

// TestMaintenanceOfAFollower: a follower takes snapshots and drops what the leader has given up, and moves
// no log start of its own accord.
func TestMaintenanceOfAFollower(t *testing.T) {
	rs := startReplicas(t, func(c *Config) { c.SegmentBytes, c.RetentionBytes = 64<<10, 128<<10 })
	a, b := rs.lead("a"), rs.all["b"]
	for i := range 60 {
		appendValues(t, a, nil, fmt.Sprint(i)+strings.Repeat("x", 8<<10))
	}
	rs.caughtUp(b, a)
	size := b.SizeBytes()
	if err := b.Maintain(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := b.snaps.Newest(); !ok {
		t.Error("a follower takes no snapshot")
	}
	if b.Bounds().LogStart != 0 || b.SizeBytes() != size {
		t.Errorf("a follower moved its log start to %d", b.Bounds().LogStart)
	}
	if err := a.Maintain(time.Now()); err != nil {
		t.Fatal(err)
	}
	if a.Bounds().LogStart == 0 {
		t.Fatal("the leader gave nothing up")
	}
	rs.caughtUp(b, a)
	for range 2 { // the older snapshot holds on to the log until there are two newer ones
		appendValues(t, a, nil, "more")
		rs.caughtUp(b, a)
		if err := b.Maintain(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if b.SizeBytes() >= size {
		t.Error("a follower keeps what the leader has given up")
	}
}

// TestOnLeadership: the owner hears when writes are taken here, and when no longer.
func TestOnLeadership(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	var mu sync.Mutex
	var heard []bool
	r.onLeadership = func(leads bool) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, leads)
	}
	p := r.open()
	if !p.Leads() {
		t.Error("it is ready and does not say so")
	}
	r.close(p)
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(heard) != "[true false]" || p.Leads() {
		t.Errorf("heard %v, leads %v", heard, p.Leads())
	}
}

// TestUnreadableEntryStopsThePartition: it is no success, nothing after it is applied, and readers see
// nothing of it.
func TestUnreadableEntryStopsThePartition(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	appendValues(t, p, nil, "a")
	leadership, err := p.lead("append")
	if err != nil {
		t.Fatal(err)
	}
	future, err := p.replica.Propose(leadership, replica.Proposal{
		Op: "append", Data: batchOf(t, 0, nil, "b"), Extensions: []byte{99},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = future.Wait()
	if wantCode(t, err, errcode.StorageFailed); !errors.Is(err, ErrEntry) {
		t.Errorf("got %v", err)
	}
	_, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, "c")})
	wantCode(t, err, errcode.StorageFailed)
	_, _, err = p.Position(t.Context(), "o")
	wantCode(t, err, errcode.StorageFailed)
	if p.Failure() == nil || p.life.now() != failed {
		t.Errorf("it is %s, failure %v", p.life.now(), p.Failure())
	}
	if got := strings.Join(values(t, p, 0), ","); got != "a" {
		t.Errorf("readers see %q", got)
	}
	if err := errors.Join(p.Reconfigure(Config{}), p.Maintain(time.Now())); err != nil {
		t.Error(err)
	}
	r.close(p)
	// The entry is still there: the partition opens, serves what is before it and takes nothing.
	p, err = r.tryOpen()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close(p)
	wantCode(t, p.WaitReady(t.Context()), errcode.StorageFailed)
	if got := strings.Join(values(t, p, 0), ","); got != "a" {
		t.Errorf("after a restart readers see %q", got)
	}
}
