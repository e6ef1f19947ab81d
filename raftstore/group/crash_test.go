package group

import (
	"context"
	"fmt"
	"math/rand"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/stable"
	"github.com/wasmill/wasmill/raftstore/transport"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// extended lists the extensions of commands whose data, record batches, is empty.
type extended struct{ *tally }

func (f extended) ApplyBatch(logs []*raft.Log) []any {
	named := make([]*raft.Log, len(logs))
	for i, l := range logs {
		named[i] = &raft.Log{Type: l.Type, Data: l.Data}
		if l.Type == raft.LogCommand {
			named[i].Data = l.Extensions
		}
	}
	return f.tally.ApplyBatch(named)
}

// groupLife runs a group over its own Log until something fails, or to the end of a short script with a
// snapshot and a restart, and returns the commands that were acknowledged.
func groupLife(t *testing.T, fsys vfs.FS, votes *stable.Store, flush log.FlushMode) (acked []string, failed bool) {
	// A leader whose log fails may step down before anybody has seen it.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for round := range 2 {
		g, l, err := startOverLog(fsys, votes, log.Options{Flush: flush, OnFailed: func(error) { stop() }}, &tally{})
		if err != nil {
			return acked, true
		}
		failed := g.WaitLeader(ctx) != nil
		for i := 0; i < 3 && !failed; i++ {
			command := fmt.Sprint(round, "-", i)
			f := g.Raft().ApplyLog(raft.Log{Extensions: []byte(command)}, 0)
			if failed = f.Error() != nil; !failed {
				acked = append(acked, command)
			}
			if i == 1 && !failed {
				failed = g.Raft().Snapshot().Error() != nil
			}
		}
		mustDo(t, g.Close())
		if err := l.Close(); err != nil || failed {
			return acked, true
		}
	}
	return acked, false
}

func startOverLog(fsys vfs.FS, votes *stable.Store, o log.Options, fsm *tally) (*Group, *log.Log, error) {
	l, err := log.Open(fsys, "log", o)
	if err != nil {
		return nil, nil, err
	}
	snapshots, err := snapshot.Open(fsys, "snapshots", snapshot.Options{Retain: 2})
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	g, err := Start(Options{Name: "orders/0", ID: "n1", Log: l, Stable: votes.Group("orders/0"),
		Snapshots: snapshots, Transport: transport.NewLocal("n1"), FSM: extended{fsm}})
	if err != nil {
		l.Close()
	}
	return g, l, err
}

// lostAfterCrash restarts the group on what a power loss left and returns the acknowledged commands that
// are gone.
func lostAfterCrash(t *testing.T, fsys vfs.FS, votes *stable.Store, acked []string) string {
	fsm := &tally{}
	g, l, err := startOverLog(fsys, votes, log.Options{}, fsm)
	if err != nil {
		return "everything: " + err.Error()
	}
	defer l.Close()
	defer g.Close()
	mustDo(t, g.WaitLeader(t.Context()))
	mustDo(t, g.Raft().Barrier(0).Error())
	for i, want := range acked {
		if i >= len(fsm.commands) || fsm.commands[i] != want {
			return fmt.Sprintf("%s: state is %s", want, fsm.state())
		}
	}
	return ""
}

// crashGroup stops the disk at one mutation after the other, and returns what was lost first.
func crashGroup(t *testing.T, flush log.FlushMode) string {
	for k := uint64(1); ; k += 2 {
		votes := openStable(t, filepath.Join(t.TempDir(), "stable"))
		m, mutations := vfs.NewMem(), uint64(0)
		acked, failed := groupLife(t, vfs.NewFaulty(m, func(op vfs.Op) error {
			if !op.Mutates() {
				return nil
			}
			if mutations++; mutations >= k {
				return errPowerLoss
			}
			return nil
		}), votes, flush)
		var rng *rand.Rand // the harshest crash in every second run
		if k%4 == 1 {
			rng = rand.New(rand.NewSource(int64(k)))
		}
		lost := lostAfterCrash(t, m.CrashClone(rng), votes, acked)
		mustDo(t, votes.Close())
		if lost != "" {
			return fmt.Sprintf("power loss at mutation %d lost %s", k, lost)
		}
		if !failed {
			return ""
		}
	}
}

// TestGroupSurvivesPowerLoss: what Apply acknowledged is there after a crash at any moment, and the
// group starts again, even if it was only half bootstrapped. A log that does not sync shows that the
// test would see a loss.
func TestGroupSurvivesPowerLoss(t *testing.T) {
	noLeaks(t)
	if lost := crashGroup(t, log.FlushFsync); lost != "" {
		t.Error(lost)
	}
	if crashGroup(t, log.FlushRelaxed) == "" {
		t.Error("nothing is lost without syncs: the test proves nothing")
	}
}
