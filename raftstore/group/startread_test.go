package group

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
)

// oddLog answers for chosen entries as a test says.
type oddLog struct {
	raft.LogStore
	odd   map[uint64]func(*raft.Log) error
	reads map[uint64]int
}

func (l oddLog) GetLog(index uint64, out *raft.Log) error {
	if l.reads != nil {
		l.reads[index]++
	}
	err := l.LogStore.GetLog(index, out)
	if odd := l.odd[index]; err == nil && odd != nil {
		return odd(out)
	}
	return err
}

// garbled is damage as a store reports it.
type garbled struct{}

func (garbled) Error() string { return "file 7 is corrupt at byte 20000" }
func (garbled) Damaged() bool { return true }

// withHistory runs a group that leaves a snapshot in the middle of its log, which it returns with the
// snapshot's index and the last one.
func withHistory(t *testing.T) (m member, snapshot, last uint64) {
	t.Helper()
	m = newMember(t)
	g := startLeader(t, m.options(&tally{}))
	for i := range 10 {
		apply(t, g, fmt.Sprint(i))
		if i == 4 {
			mustDo(t, g.Raft().Snapshot().Error())
		}
	}
	mustDo(t, g.Close())
	snapshot, _, _ = m.snapshots.Newest()
	last, err := m.log.LastIndex()
	mustDo(t, err)
	return m, snapshot, last
}

// TestStartReadsWhatRaftWillRead: whatever is wrong with an entry that raft reads at the start is an error
// of that group, of one of two kinds, and no panic.
func TestStartReadsWhatRaftWillRead(t *testing.T) {
	noLeaks(t)
	m, snapshot, last := withHistory(t)
	fails := func(err error) func(*raft.Log) error { return func(*raft.Log) error { return err } }
	changed := func(change func(*raft.Log)) func(*raft.Log) error {
		return func(l *raft.Log) error { change(l); return nil }
	}
	cases := map[string]struct {
		odd  func(*raft.Log) error
		want error
		says string
	}{
		"damage":             {fails(fmt.Errorf("read: %w", garbled{})), ErrDamaged, "file 7 is corrupt at byte 20000"},
		"bad sector":         {fails(syscall.EIO), ErrUnreadable, "input/output error"},
		"too many files":     {fails(syscall.EMFILE), ErrUnreadable, "too many open files"},
		"a hole":             {fails(raft.ErrLogNotFound), ErrDamaged, "log not found"},
		"another entry":      {changed(func(l *raft.Log) { l.Index += 5 }), ErrDamaged, "says that it is entry"},
		"unknown type":       {changed(func(l *raft.Log) { l.Type = 77 }), ErrDamaged, "unknown type 77"},
		"bad configuration":  {changed(func(l *raft.Log) { l.Type, l.Data = raft.LogConfiguration, []byte{1} }), ErrDamaged, "configuration"},
		"a term that sinks":  {changed(func(l *raft.Log) { l.Term = 1 }), ErrDamaged, "after one of term"},
		"term of the future": {changed(func(l *raft.Log) { l.Term = 9 }), ErrVoteLost, "entries of term 9"},
	}
	for name, c := range cases {
		for _, index := range []uint64{snapshot + 1, last - 1, last} {
			if name == "term of the future" && index != last {
				continue
			}
			o := m.options(&tally{})
			o.Log = oddLog{LogStore: m.log, odd: map[uint64]func(*raft.Log) error{index: c.odd}}
			g, err := Start(o)
			if err == nil {
				mustDo(t, g.Close())
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || IsDamage(err) != (c.want != ErrUnreadable) {
				t.Errorf("%s in entry %d: %v", name, index, err)
			}
		}
	}
	// Nobody reads what the snapshot covers.
	o := m.options(&tally{})
	o.Log = oddLog{LogStore: m.log, odd: map[uint64]func(*raft.Log) error{snapshot: fails(garbled{})}}
	mustDo(t, startLeader(t, o).Close())
}

// TestStartReadsOnce: the entries behind the snapshot are read once before raft runs, not once by the check
// and once by raft.
func TestStartReadsOnce(t *testing.T) {
	noLeaks(t)
	m, snapshot, last := withHistory(t)
	o := m.options(&tally{})
	o.Transport = passive{o.Transport} // no election: raft applies nothing
	reads := map[uint64]int{}
	o.Log = oddLog{LogStore: m.log, reads: reads}
	g, err := Start(o)
	mustDo(t, err)
	mustDo(t, g.Close())
	for index := uint64(1); index <= last; index++ {
		want := 0
		if index > snapshot {
			want = 1
		}
		if index == last {
			want = 2 // to know its term, and in its turn
		}
		if reads[index] != want {
			t.Errorf("entry %d was read %d times, want %d", index, reads[index], want)
		}
	}
}

// TestRaftPanicIsAnError: what raft still panics about at the start ends in an error of this group.
func TestRaftPanicIsAnError(t *testing.T) {
	noLeaks(t)
	o := newMember(t).options(&tally{}).withDefaults()
	mustDo(t, bootstrap(o))
	o.Log = oddLog{LogStore: o.Log, odd: map[uint64]func(*raft.Log) error{1: func(l *raft.Log) error {
		l.Data = []byte{1}
		return nil
	}}}
	if _, err := newRaft(o.raftConfig(), o); !errors.Is(err, ErrDamaged) {
		t.Errorf("raft got a configuration that it cannot decode: %v", err)
	}
	o.Log = oddLog{LogStore: o.Log, odd: map[uint64]func(*raft.Log) error{1: func(*raft.Log) error { panic(syscall.EIO) }}}
	if _, err := newRaft(o.raftConfig(), o); !errors.Is(err, ErrUnreadable) {
		t.Errorf("raft panicked with an error: %v", err)
	}
}

// TestLostVoteIsRefused: a stable store that is not there, or older than the log, is not taken for new.
func TestLostVoteIsRefused(t *testing.T) {
	noLeaks(t)
	m, _, _ := withHistory(t)
	lost := raft.NewInmemStore()
	for _, term := range []uint64{0, 1} {
		if term > 0 {
			mustDo(t, lost.SetUint64([]byte(currentTermKey), term))
		}
		o := m.options(&tally{})
		o.Stable = lost
		g, err := Start(o)
		if err == nil {
			mustDo(t, g.Close())
		}
		if !errors.Is(err, ErrVoteLost) || !IsDamage(err) || !strings.Contains(err.Error(), "restore") {
			t.Errorf("stable store with term %d: %v", term, err)
		}
	}
	// Nor when there is nothing but a snapshot.
	empty := m
	empty.log = raft.NewInmemStore()
	empty.stable = raft.NewInmemStore()
	if _, err := Start(empty.options(&tally{})); !errors.Is(err, ErrVoteLost) {
		t.Errorf("a snapshot and no stable store: %v", err)
	}
}
