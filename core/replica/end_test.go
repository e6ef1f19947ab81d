package replica

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestRaftEndsAfterItsAnswers: however a replica ends, Raft goes on until everybody who has proposed
// something has had the answer, whether the entry is applied already or the state machine is slow.
func TestRaftEndsAfterItsAnswers(t *testing.T) {
	ends := map[string]func(*Replica) error{
		"close":   (*Replica).Close,
		"discard": (*Replica).Discard,
		"fail":    func(p *Replica) error { p.Fail(errors.New("the log takes no more")); return nil },
	}
	for name, end := range ends {
		for _, stalled := range []bool{false, true} {
			what := map[bool]string{false: "applied", true: "stalled"}[stalled]
			t.Run(name+"/"+what, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { endWithProposal(t, end, stalled) }) })
		}
	}
}

// endWithProposal ends a replica while one proposal has not had its answer. It runs in a bubble, where
// synctest.Wait returns once nobody can do anything more.
func endWithProposal(t *testing.T, end func(*Replica) error, stalled bool) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	if stalled {
		r.machine.stall = make(chan struct{})
	}
	l, err := p.Lead("append")
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.Propose(l, Proposal{Op: "append", Extensions: []byte("a")})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // it is applied, or the state machine has it
	ended := make(chan error, 1)
	go func() { ended <- end(p) }()
	synctest.Wait()
	instance := p.raft.Load()
	if s := instance.State(); s == raft.Shutdown {
		t.Errorf("Raft is over before the proposal has its answer")
	}
	r.release()
	if answer, err := f.Wait(); answer != 1 || err != nil {
		t.Errorf("the proposal is answered with %v, %v", answer, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	synctest.Wait()
	if s := instance.State(); s != raft.Shutdown {
		t.Errorf("Raft is %v after the end", s)
	}
}
