package replica

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/replica/replicatest"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/transport"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listing is a state machine that lists the commands it got. The answer to each is how many there are.
type listing struct {
	stall chan struct{} // if set, Apply waits until it is closed

	mu       sync.Mutex
	commands []string
	restored int
	refuse   string // the command that cannot be applied
}

var errRefused = errors.New("this command cannot be applied")

func (m *listing) Apply(entries []Entry) (int, error) {
	if m.stall != nil {
		<-m.stall
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range entries {
		command := string(entries[i].Extensions)
		if command == m.refuse {
			return i, errRefused
		}
		m.commands = append(m.commands, command)
		entries[i].Answer = len(m.commands)
	}
	return len(entries), nil
}

func (m *listing) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.commands, ",")
}

func (m *listing) Snapshot() (io.WriterTo, error) { return strings.NewReader(m.text()), nil }

func (m *listing) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commands = nil
	if len(b) > 0 {
		m.commands = strings.Split(string(b), ",")
	}
	m.restored++
	return err
}

// rig is what one replica keeps over restarts.
type rig struct {
	t        testing.TB
	id       raft.ServerID
	fs       vfs.FS
	stable   raft.StableStore
	machine  *listing
	connect  func(group string) group.Transport
	timing   group.Timing
	onChange func(State)

	log *log.Log
}

func newRig(t testing.TB, fsys vfs.FS) *rig {
	return &rig{
		t: t, id: "1", fs: fsys, stable: raft.NewInmemStore(), machine: &listing{},
		connect: func(string) group.Transport { return transport.NewLocal("1") },
	}
}

// start starts a replica on the rig's files, with the rig's state machine, which begins empty.
func (r *rig) start() (*Replica, error) {
	r.t.Helper()
	replica, err := New(Options{
		Name: "partition orders/0", Group: "orders", ID: r.id, Transport: r.connect, Machine: r.machine,
		Logger: slog.New(slog.DiscardHandler), Timing: r.timing, OnChange: r.onChange,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.log, err = log.Open(r.fs, "data", log.Options{OnFailed: replica.Fail}); err != nil {
		r.t.Fatal(err)
	}
	snapshots, err := snapshot.Open(r.fs, "data/snapshots", snapshot.Options{Retain: 2})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := replica.Start(Stores{Log: r.log, Stable: r.stable, Snapshots: snapshots}); err != nil {
		return nil, errors.Join(err, r.log.Close())
	}
	return replica, nil
}

// open starts a replica and waits until it is ready.
func (r *rig) open() *Replica {
	r.t.Helper()
	replica, err := r.start()
	if err == nil {
		err = replica.WaitReady(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return replica
}

func (r *rig) close(replica *Replica) {
	r.t.Helper()
	if err := errors.Join(replica.Close(), r.log.Close()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) reopen(replica *Replica) *Replica {
	r.t.Helper()
	r.close(replica)
	r.machine = &listing{}
	return r.open()
}

// execute lets a replica carry out a command.
func execute(t testing.TB, r *Replica, command string) int {
	t.Helper()
	answer, err := r.Execute(t.Context(), Proposal{Op: "append", Extensions: []byte(command)})
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return answer.(int)
}

func wantCode(t testing.TB, err error, code errcode.Code) {
	t.Helper()
	if !errcode.Is(err, code) {
		t.Fatalf("error %v; want %v", err, code)
	}
}

// wait polls for what Raft does by its own timers.
func wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	replicatest.Await(t, what, done)
}

// members are the replicas of one group.
type members struct {
	t       *testing.T
	network *replicatest.Network
	all     []*member
}

type member struct {
	*rig
	r *Replica
}

// startThree starts a group of three voters, a, b and c. One of them leads, and all have applied that.
func startThree(t *testing.T) *members {
	t.Helper()
	ms := &members{t: t, network: replicatest.New("a", "b", "c")}
	for _, id := range []raft.ServerID{"a", "b", "c"} {
		m := &member{rig: newRig(t, vfs.NewMem())}
		m.id, m.connect, m.timing = id, ms.network.Transport(id), replicatest.Timing
		l, err := log.Open(m.fs, "data", log.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ms.network.Seed(t, l, m.stable)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if m.r, err = m.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			m.release()
			if err := errors.Join(m.r.Close(), m.log.Close()); err != nil {
				t.Error(err)
			}
		})
		ms.all = append(ms.all, m)
	}
	wait(t, "the first command", func() bool {
		_, err := ms.leader().r.Execute(t.Context(), Proposal{Op: "append", Extensions: []byte("begin")})
		return err == nil
	})
	for _, m := range ms.all {
		wait(t, "all have begun", func() bool { return m.machine.text() == "begin" })
	}
	return ms
}

// release ends a stall.
func (r *rig) release() {
	if r.machine.stall != nil {
		select {
		case <-r.machine.stall:
		default:
			close(r.machine.stall)
		}
	}
}

// leader waits for a member that is ready.
func (ms *members) leader() *member {
	ms.t.Helper()
	var leader *member
	wait(ms.t, "a leader", func() bool {
		for _, m := range ms.all {
			if m.r.State() == Ready {
				leader = m
			}
		}
		return leader != nil
	})
	return leader
}

// elect makes a member the leader, if it has all that was committed. It may not be ready yet.
func (ms *members) elect(m *member) {
	ms.t.Helper()
	ms.network.Elect(ms.t, m.id, func() bool { s := m.r.State(); return s == CatchingUp || s == Ready })
}
