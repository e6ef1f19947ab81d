package replica

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// badSink fails at a chosen call.
type badSink struct {
	data                            bytes.Buffer
	failWrite, failClose, cancelled bool
}

func (s *badSink) ID() string { return "bad" }
func (s *badSink) Write(p []byte) (int, error) {
	if s.failWrite {
		return 0, io.ErrShortWrite
	}
	return s.data.Write(p)
}
func (s *badSink) Cancel() error { s.cancelled = true; return nil }
func (s *badSink) Close() error {
	if s.failClose {
		return io.ErrClosedPipe
	}
	return nil
}

// syncs is a log of which only Sync is called.
type syncs struct {
	Log
	err   error
	count int
}

func (s *syncs) Sync() error {
	s.count++
	return s.err
}

func TestPersistFailures(t *testing.T) {
	persist := func(l *syncs, sink *badSink) error {
		snapshot := fsmSnapshot{log: l, state: strings.NewReader("state")}
		defer snapshot.Release()
		return snapshot.Persist(sink)
	}
	torn := &badSink{failWrite: true}
	if err := persist(&syncs{}, torn); !errors.Is(err, io.ErrShortWrite) || !torn.cancelled {
		t.Errorf("a failed write: %v, cancelled %v", err, torn.cancelled)
	}
	if err := persist(&syncs{}, &badSink{failClose: true}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a failed close: %v", err)
	}
	early := &badSink{}
	if err := persist(&syncs{err: syscall.EIO}, early); !errors.Is(err, syscall.EIO) || !early.cancelled || early.data.Len() != 0 {
		t.Errorf("a log that cannot be synced: %v, cancelled %v, %d bytes", err, early.cancelled, early.data.Len())
	}
	log, good := &syncs{}, &badSink{}
	if err := persist(log, good); err != nil || good.data.String() != "state" || log.count != 1 {
		t.Errorf("got %q, %v, %d syncs", good.data.String(), err, log.count)
	}
}

// driven is a state machine as Raft drives it, of a replica that is not started.
func driven(t *testing.T, m StateMachine) *fsm {
	t.Helper()
	r := newRig(t, vfs.NewMem())
	p, err := New(Options{Name: "partition orders/0", Group: "orders", ID: r.id, Transport: r.connect, Machine: m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fsm{r: p}
}

// commands are committed entries with consecutive indexes from first on.
func commands(first uint64, names ...string) []*raft.Log {
	var logs []*raft.Log
	for i, name := range names {
		logs = append(logs, &raft.Log{Type: raft.LogCommand, Index: first + uint64(i), Extensions: []byte(name)})
	}
	return logs
}

// TestNothingIsAppliedAfterAFailure: once an entry could not be applied, the state machine sees none of the
// batches that Raft has committed after it, and they are answered as not applied.
func TestNothingIsAppliedAfterAFailure(t *testing.T) {
	m := &listing{refuse: "poison"}
	f := driven(t, m)
	if got, want := fmt.Sprint(f.ApplyBatch(commands(1, "a", "poison", "b"))), fmt.Sprint([]any{1, errNotApplied, errNotApplied}); got != want {
		t.Errorf("the batch with the failure is answered with %s, want %s", got, want)
	}
	for i, answer := range f.ApplyBatch(commands(4, "c", "d")) {
		if answer != errNotApplied { //nolint:errorlint // it is this very value
			t.Errorf("entry %d of the next batch is answered with %v", i, answer)
		}
	}
	if m.text() != "a" {
		t.Errorf("the state is %q, want what was before the failure", m.text())
	}
}

// miscounting is a state machine that gives an outcome of the test's choice.
type miscounting struct {
	listing
	applied int
	err     error
}

func (m *miscounting) Apply(entries []Entry) (int, error) {
	_, _ = m.listing.Apply(entries)
	return m.applied, m.err
}

// TestWrongCountFailsTheReplica: a state machine that passes over entries, or whose count cannot be true, has
// failed. No entry is answered as a success of which it is not certain, and no snapshot is taken of its state.
func TestWrongCountFailsTheReplica(t *testing.T) {
	for _, tt := range []struct {
		applied int
		err     error
		succeed int // how many entries are answered as a success
	}{
		{applied: 1, succeed: 1},
		{applied: 0},
		{applied: -1},
		{applied: 4},
		{applied: 3, err: errRefused},
		{applied: 4, err: errRefused},
		{applied: -1, err: errRefused},
	} {
		f := driven(t, &miscounting{applied: tt.applied, err: tt.err})
		for i, answer := range f.ApplyBatch(commands(1, "a", "b", "c")) {
			if refused := answer == any(errNotApplied); refused != (i >= tt.succeed) {
				t.Errorf("%d, %v: entry %d is answered with %v", tt.applied, tt.err, i, answer)
			}
		}
		failure := f.r.Failure()
		if !errcode.Is(failure, errcode.StorageFailed) || tt.err != nil && !errors.Is(failure, tt.err) {
			t.Errorf("%d, %v: the replica's failure is %v", tt.applied, tt.err, failure)
		}
		if _, err := f.Snapshot(); err == nil {
			t.Errorf("%d, %v: a snapshot of its state is taken", tt.applied, tt.err)
		}
	}
}
