package replica

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestNewLeaderAdmitsNothingBeforeItsLog: a leader whose state machine lacks entries of its log refuses
// what depends on them, and takes it once they are applied.
func TestNewLeaderAdmitsNothingBeforeItsLog(t *testing.T) {
	ms := startThree(t)
	a := ms.leader()
	b := ms.all[slices.IndexFunc(ms.all, func(m *member) bool { return m != a })]
	b.machine.stall = make(chan struct{})
	execute(t, a.r, "2") // b gets it into its log, and cannot apply it
	last, err := a.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "b has the entry", func() bool { index, err := b.log.LastIndex(); return err == nil && index >= last })
	ms.elect(b)
	if s := b.r.State(); s != CatchingUp {
		t.Fatalf("b is %s", s)
	}
	if _, err := b.r.Lead("append"); !errcode.Is(err, errcode.NotLeaderOrFollower) {
		t.Errorf("a leader that is catching up admits: %v", err)
	}
	if _, err := b.r.Execute(t.Context(), Proposal{Op: "append", Extensions: []byte("early")}); !errcode.Is(err, errcode.NotLeaderOrFollower) {
		t.Errorf("got %v", err)
	}
	wait(t, "a follows", func() bool { return a.r.State() == Follower })
	if _, err := a.r.Execute(t.Context(), Proposal{Op: "append", Extensions: []byte("late")}); !errcode.Is(err, errcode.NotLeaderOrFollower) {
		t.Errorf("got %v", err)
	}
	b.release()
	if err := b.r.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := b.machine.text(); text != "begin,2" {
		t.Errorf("ready, its state is %q", text)
	}
	execute(t, b.r, "3")
	wait(t, "a has all", func() bool { return a.machine.text() == "begin,2,3" })
}

// TestLeadershipComesAndGoes moves the leadership round under load: what is acknowledged is there once, on
// every member, and every refusal has a code that may be tried again.
func TestLeadershipComesAndGoes(t *testing.T) {
	ms := startThree(t)
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged)
	}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				command := fmt.Sprint(w, "-", i)
				_, err := ms.leader().r.Execute(t.Context(), Proposal{Op: "append", Extensions: []byte(command)})
				if err == nil {
					mu.Lock()
					acknowledged[command] = true
					mu.Unlock()
				} else if !errcode.From(err).Retriable() {
					t.Errorf("%s: %v", command, err)
				}
			}
		})
	}
	for i := range 6 { // without giving anybody the time to catch up
		ms.elect(ms.all[i%3])
	}
	for i := range 6 {
		ms.elect(ms.all[i%3])
		before := count()
		wait(t, "some commands are acknowledged", func() bool { return count() >= before+20 })
	}
	close(stop)
	writers.Wait()
	ms.expectOnce(acknowledged)
}

// expectOnce wants all members to have the same commands, and those that were acknowledged once.
func (ms *members) expectOnce(acknowledged map[string]bool) {
	ms.t.Helper()
	last := execute(ms.t, ms.leader().r, "last")
	for _, m := range ms.all {
		wait(ms.t, "all commands", func() bool {
			m.machine.mu.Lock()
			defer m.machine.mu.Unlock()
			return len(m.machine.commands) == last
		})
		if m.machine.text() != ms.all[0].machine.text() {
			ms.t.Errorf("members %s and %s differ", ms.all[0].id, m.id)
		}
	}
	times := map[string]int{}
	for _, command := range ms.all[0].machine.commands {
		times[command]++
	}
	for command := range acknowledged {
		if times[command] != 1 {
			ms.t.Errorf("%s was acknowledged, and is there %d times", command, times[command])
		}
	}
}

// recorder is a log that notes what reaches it.
type recorder struct {
	Log
	types []raft.LogType
}

func (r *recorder) StoreLogs(entries []*raft.Log) error {
	for _, e := range entries {
		r.types = append(r.types, e.Type)
	}
	return nil
}

// TestGateKeepsStaleProposalsOut: Raft may still find proposals of the last leadership in its queue. They
// must not be stored before the new barrier, and all else must.
func TestGateKeepsStaleProposalsOut(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	below := &recorder{}
	gate := storeGate{Log: below, r: p}
	command := []*raft.Log{{Type: raft.LogNoop}, {Type: raft.LogCommand}}
	if err := gate.StoreLogs(command); err != nil {
		t.Errorf("a proposal of a leader that is ready: %v", err)
	}
	p.caughtUp.Store(false) // as at the moment of a new election
	if err := gate.StoreLogs(command); !errors.Is(err, errStale) {
		t.Errorf("a stale proposal: %v", err)
	}
	if err := gate.StoreLogs([]*raft.Log{{Type: raft.LogNoop}, {Type: raft.LogBarrier}, {Type: raft.LogConfiguration}}); err != nil {
		t.Errorf("a new leader's own entries: %v", err)
	}
	if len(below.types) != 5 {
		t.Errorf("the log got %v", below.types)
	}
	p.caughtUp.Store(true)
	if gate.IsMonotonic() || (storeGate{Log: r.log, r: p}).IsMonotonic() {
		t.Error("Raft would delete the whole log when it installs a snapshot")
	}
}

// TestGateClosesWithTheLeadership: what passed the gate under one leadership does not pass it from the end of
// that leadership until all entries before the next are applied.
func TestGateClosesWithTheLeadership(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	r.machine.stall = make(chan struct{})
	last, err := r.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.Lead("append")
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.Propose(l, Proposal{Op: "append", Extensions: []byte("before")})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the entry is stored", func() bool { index, err := r.log.LastIndex(); return err == nil && index > last })
	gate := storeGate{Log: &recorder{}, r: p}
	command := []*raft.Log{{Type: raft.LogCommand}}
	p.onLeadership(false) // Raft itself leads throughout, as it does at the moment of a new election
	if err := gate.StoreLogs(command); !errors.Is(err, errStale) {
		t.Errorf("after the end of the leadership: %v", err)
	}
	p.onLeadership(true)
	if err := gate.StoreLogs(command); !errors.Is(err, errStale) || p.State() != CatchingUp {
		t.Errorf("elected anew, and %s: %v", p.State(), err)
	}
	r.release()
	if answer, err := f.Wait(); answer != 1 || err != nil {
		t.Errorf("what was stored before is answered with %v, %v", answer, err)
	}
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := gate.StoreLogs(command); err != nil {
		t.Errorf("ready: %v", err)
	}
}

// TestBarrierIsTriedAgain: while a transfer of the leadership is tried, Raft refuses a barrier and goes on
// to lead. A leader whose barrier was refused must not stay unready for it.
func TestBarrierIsTriedAgain(t *testing.T) {
	ms := startThree(t)
	a := ms.leader()
	b := ms.all[slices.IndexFunc(ms.all, func(m *member) bool { return m != a })]
	ms.network.Cut(b.id)
	execute(t, a.r, "b lacks this, so that no transfer to it can succeed")
	instance := a.r.raft.Load()
	transfer := instance.LeadershipTransferToServer(b.id, raft.ServerAddress(b.id))
	wait(t, "the transfer is under way", func() bool {
		return errors.Is(instance.Barrier(0).Error(), raft.ErrLeadershipTransferInProgress)
	})
	a.r.onLeadership(false) // as if it were elected just now
	a.r.onLeadership(true)
	if err := transfer.Error(); err == nil {
		t.Error("the transfer succeeded: this test proves nothing")
	}
	if err := a.r.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ms.network.Heal(b.id)
}
