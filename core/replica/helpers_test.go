package replica

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/errcode"
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

// wait polls for what a goroutine of Raft does by its own timers and tells nobody of.
func wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("never came: " + what)
		}
	}
}

// network connects the replicas of a group in memory.
type network struct {
	t       *testing.T
	members []*member
}

type member struct {
	*rig
	r         *Replica
	transport *raft.InmemTransport
}

// memTransport adds what a group wants of a transport to Raft's own for tests.
type memTransport struct{ *raft.InmemTransport }

// Campaign sends TimeoutNow to itself, from a transport that exists for this purpose.
func (t memTransport) Campaign() error {
	self := t.LocalAddr()
	_, other := raft.NewInmemTransport("campaign-" + self)
	other.Connect(self, t.InmemTransport)
	go func() {
		var response raft.TimeoutNowResponse
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(self), Addr: []byte(self)}
		_ = other.TimeoutNow(raft.ServerID(self), self, &raft.TimeoutNowRequest{RPCHeader: header}, &response)
	}()
	return nil
}

// join starts a replica with an id. The first is a group of its own, the others join it as voters.
func (n *network) join(id raft.ServerID) *member {
	n.t.Helper()
	_, mem := raft.NewInmemTransport(raft.ServerAddress(id))
	m := &member{rig: newRig(n.t, vfs.NewMem()), transport: mem}
	m.id = id
	m.connect = func(string) group.Transport { return memTransport{mem} }
	m.timing = group.Timing{Heartbeat: 200 * time.Millisecond, Election: 200 * time.Millisecond, Lease: 100 * time.Millisecond, Commit: 10 * time.Millisecond}
	for _, other := range n.members {
		mem.Connect(other.transport.LocalAddr(), other.transport)
		other.transport.Connect(mem.LocalAddr(), mem)
	}
	if len(n.members) > 0 {
		n.found(m)
	}
	var err error
	if m.r, err = m.start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if m.machine.stall != nil {
			select {
			case <-m.machine.stall:
			default:
				close(m.machine.stall)
			}
		}
		_ = errors.Join(m.r.Close(), m.log.Close())
	})
	if leader := n.leader(); len(n.members) > 0 {
		if err := leader.r.raft.Load().AddVoter(id, mem.LocalAddr(), 0, 0).Error(); err != nil {
			n.t.Fatal(err)
		}
	}
	n.members = append(n.members, m)
	return m
}

// found gives a member that is to join the first entry of the group, as if it had been sent it: a replica
// without any would found a group of its own.
func (n *network) found(m *member) {
	n.t.Helper()
	var first raft.Log
	if err := n.members[0].log.GetLog(1, &first); err != nil {
		n.t.Fatal(err)
	}
	l, err := log.Open(m.fs, "data", log.Options{})
	if err == nil {
		err = errors.Join(l.StoreLog(&first), l.Close())
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// leader waits for a member that is ready; nil if there are no members.
func (n *network) leader() *member {
	n.t.Helper()
	var leader *member
	if len(n.members) > 0 {
		wait(n.t, "a leader", func() bool {
			for _, m := range n.members {
				if m.r.State() == Ready {
					leader = m
				}
			}
			return leader != nil
		})
	}
	return leader
}

// transfer moves the leadership, from whoever has it.
func (n *network) transfer(to *member) {
	n.t.Helper()
	wait(n.t, fmt.Sprintf("%s leads", to.id), func() bool {
		for _, m := range n.members {
			if instance := m.r.raft.Load(); m != to && instance.State() == raft.Leader {
				_ = instance.LeadershipTransferToServer(to.id, to.transport.LocalAddr()).Error()
			}
		}
		return to.r.raft.Load().State() == raft.Leader
	})
}
