package partition

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/replica"
	"github.com/wasmill/wasmill/core/replica/replicatest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestLargeRequestsKeepTheOrder: a request that is too large to join the open proposal comes after those that
// have joined it, in the log too: their sequences were checked in this order.
func TestLargeRequestsKeepTheOrder(t *testing.T) {
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
	open := newProposal(leadership, nil, nil)
	open.shared = true
	p.open = open
	p.life.work.Go(func() { p.runShared(open) })
	p.mu.Unlock()
	type outcome struct {
		Appended
		err error
	}
	small := make(chan outcome, 1)
	go func() {
		done, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, &record.Producer{ID: 1}, "small")})
		small <- outcome{done, err}
	}()
	replicatest.Await(t, "the small request has joined", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(open.data) > 0
	})
	large := appendValues(t, p, &record.Producer{ID: 1, BaseSequence: 1}, strings.Repeat("x", 2*coalesceBelow))
	for range sharedPending {
		<-p.appender.slots
	}
	if first := <-small; first.err != nil || first.BaseOffset != 0 || large.BaseOffset != 1 {
		t.Errorf("the small request is at %d (%v), the large one at %d; want 0 and 1", first.BaseOffset, first.err, large.BaseOffset)
	}
	if got := values(t, p, 0); len(got) != 2 || got[0] != "small" {
		t.Errorf("the first of %d records is %.20q, want the small request's", len(got), got[0])
	}
}

// TestAnsweredIsNotPending: whatever the outcome, what was answered is pending no longer. Otherwise every
// producer and every origin that ever wrote would take memory.
func TestAnsweredIsNotPending(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	want := func(what string) {
		t.Helper()
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.pending) != 0 || len(p.pendingPositions) != 0 {
			t.Errorf("%s: %d producers and %d origins are pending", what, len(p.pending), len(p.pendingPositions))
		}
	}
	position := []Position{OffsetPosition("derivation/1/0", 9)}
	appendValues(t, p, &record.Producer{ID: 1}, "a")
	if _, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, &record.Producer{ID: 2}, "b"), Positions: position}); err != nil {
		t.Fatal(err)
	}
	want("written")
	_, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, &record.Producer{ID: 1, BaseSequence: 5}, "c")})
	wantCode(t, err, errcode.OutOfOrderSequence)
	if done, err := p.Append(t.Context(), Append{Positions: position}); err != nil || !done.Duplicate {
		t.Errorf("a repetition: %+v, %v", done, err)
	}
	want("refused, and a repetition")
	p.replica.Fail(errors.New("the log takes no more"))
	_, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, &record.Producer{ID: 3}, "d"), Positions: []Position{OffsetPosition("o", 1)}})
	wantCode(t, err, errcode.StorageFailed)
	r.close(p)
	want("failed")
}

// TestNothingFollowsWhatIsRefused: requests that wait in the open proposal are refused with it when the replica takes
// no more. A larger one that comes next must not have been checked as if they were written: it could be taken.
func TestNothingFollowsWhatIsRefused(t *testing.T) {
	var blocked atomic.Bool
	release := make(chan struct{})
	r := newRig(t, vfs.NewFaulty(vfs.NewMem(), func(op vfs.Op) error {
		if blocked.Load() && op.Kind == vfs.OpSyncData {
			<-release
		}
		return nil
	}))
	p := r.open()
	defer r.close(p)
	appendValues(t, p, &record.Producer{ID: 1}, "0")
	leadership, err := p.lead("append")
	if err != nil {
		t.Fatal(err)
	}
	blocked.Store(true)
	var taken []replica.Future
	for err == nil {
		var f replica.Future
		if f, err = p.replica.Propose(leadership, replica.Proposal{Op: "fill", Data: batchOf(t, 0, nil, "x")}); err == nil {
			taken = append(taken, f)
		}
	}
	wantCode(t, err, errcode.Overloaded)

	p.mu.Lock()
	small := &pendingAppend{seq: sequenced{id: 1, first: 1, last: 1}}
	p.open = newProposal(leadership, nil, nil)
	p.open.shared = true
	p.joinLocked(small, batchOf(t, 0, &record.Producer{ID: 1, BaseSequence: 1}, "1"))
	p.trackLocked(small)
	p.mu.Unlock()
	_, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, &record.Producer{ID: 1, BaseSequence: 2}, strings.Repeat("2", 2*coalesceBelow))})
	if expectedSequence(err) != 1 {
		t.Errorf("the large request: %v", err)
	}
	_, err = p.await(small, true)
	wantCode(t, err, errcode.Overloaded)
	close(release)
	for _, f := range taken {
		if _, err := f.Wait(); err != nil {
			t.Error(err)
		}
	}
}
