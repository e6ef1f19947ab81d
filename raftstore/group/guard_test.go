package group

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
)

// failures collects the calls of OnFailed.
type failures struct{ calls chan error }

func newFailures() failures { return failures{make(chan error, 4)} }

func (f failures) note(err error) { f.calls <- err }

// await returns the one failure of a group that is closed.
func (f failures) await(t *testing.T) error {
	t.Helper()
	err := <-f.calls
	if len(f.calls) > 0 {
		t.Errorf("OnFailed was called again: %v", <-f.calls)
	}
	return err
}

// brokenStable fails every write from a moment on, or those of one key.
type brokenStable struct {
	raft.StableStore
	key    string // empty: all
	broken atomic.Bool
}

func (s *brokenStable) fails(key []byte) bool {
	return s.broken.Load() && (s.key == "" || s.key == string(key))
}

func (s *brokenStable) SetUint64(key []byte, val uint64) error {
	if s.fails(key) {
		return syscall.EIO
	}
	return s.StableStore.SetUint64(key, val)
}

func (s *brokenStable) Set(key, val []byte) error {
	if s.fails(key) {
		return syscall.EIO
	}
	return s.StableStore.Set(key, val)
}

// TestFailedStableStoreEndsTheGroup: a term or vote that cannot be stored ends the group in order. Raft by
// itself would end the process. Nothing is taken under that term, also if the store works again.
func TestFailedStableStoreEndsTheGroup(t *testing.T) {
	noLeaks(t)
	for _, key := range []string{"", currentTermKey, voteTermKey, "LastVoteCand"} {
		m, _, last := withHistory(t)
		stable := &brokenStable{StableStore: m.stable, key: key}
		stable.broken.Store(true)
		m.stable = stable
		o, failed := m.options(&tally{}), newFailures()
		o.OnFailed = func(err error) { stable.broken.Store(false); failed.note(err) }
		g, err := Start(o)
		mustDo(t, err)
		if err := failed.await(t); !errors.Is(err, syscall.EIO) {
			t.Errorf("broken %q: the group failed for %v", key, err)
		}
		if err := g.Raft().Apply([]byte("x"), 0).Error(); err == nil {
			t.Errorf("broken %q: an entry was taken", key)
		}
		mustDo(t, g.Close())
		if now, err := m.log.LastIndex(); now != last || err != nil {
			t.Errorf("broken %q: the log has grown from %d to %d, %v", key, last, now, err)
		}
	}
}

// TestFailedStableStoreOfALeader: a leader whose store fails at the next election leads no more.
func TestFailedStableStoreOfALeader(t *testing.T) {
	noLeaks(t)
	m := newMember(t)
	stable := &brokenStable{StableStore: m.stable}
	m.stable = stable
	o, failed := m.options(&tally{}), newFailures()
	o.OnFailed = failed.note
	g := startLeader(t, o)
	apply(t, g, "a")
	stable.broken.Store(true)
	mustDo(t, o.Transport.Campaign())
	if err := failed.await(t); !errors.Is(err, syscall.EIO) {
		t.Errorf("failed for %v", err)
	}
	if err := g.Raft().Apply([]byte("b"), 0).Error(); err == nil {
		t.Error("an entry was taken after the store had failed")
	}
	mustDo(t, g.Close())
}

// TestUnreadableEntryEndsTheGroup: an entry that cannot be read when it is to be applied ends the group in
// order. The state machine gets those before it and none after it.
func TestUnreadableEntryEndsTheGroup(t *testing.T) {
	noLeaks(t)
	for _, batching := range []bool{true, false} {
		m, snapshot, _ := withHistory(t)
		fsm, failed := &tally{}, newFailures()
		o := m.options(fsm)
		if !batching {
			o.FSM = applyOnly{fsm}
		}
		o.SkipRestore = true
		o.OnFailed = failed.note
		reads := 0 // the first one is the check at the start
		o.Log = oddLog{LogStore: m.log, odd: map[uint64]func(*raft.Log) error{snapshot + 3: func(*raft.Log) error {
			if reads++; reads > 1 {
				return syscall.EIO
			}
			return nil
		}}}
		g, err := Start(o)
		mustDo(t, err)
		if err := failed.await(t); !errors.Is(err, syscall.EIO) || !errors.Is(err, ErrUnreadable) {
			t.Errorf("failed for %v", err)
		}
		_ = g.Raft().Barrier(0).Error() // what was applied is applied
		if err := g.Raft().Snapshot().Error(); err == nil {
			t.Error("a snapshot was taken of a state with a hole")
		}
		mustDo(t, g.Close())
		if got := fsm.state(); got != "5,6" {
			t.Errorf("the state machine got %q, want what lies before the hole", got)
		}
		if newest, _, _ := m.snapshots.Newest(); newest != snapshot {
			t.Errorf("there is a snapshot at %d", newest)
		}
	}
}
