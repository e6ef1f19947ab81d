// Package replicatest connects the replicas of one group in memory, for tests of state machines that must
// hold over changes of leadership.
package replicatest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/group"
)

// Timing lets a lost leader be replaced in a fraction of a second.
var Timing = group.Timing{
	Heartbeat: 200 * time.Millisecond, Election: 200 * time.Millisecond,
	Lease: 100 * time.Millisecond, Commit: 10 * time.Millisecond,
}

// Network connects a fixed number of voters. Safe for concurrent use.
type Network struct {
	ids []raft.ServerID

	mu         sync.Mutex
	transports map[raft.ServerID]*raft.InmemTransport
}

// New is the network of the voters with these ids.
func New(ids ...raft.ServerID) *Network {
	return &Network{ids: ids, transports: map[raft.ServerID]*raft.InmemTransport{}}
}

// Seed gives empty stores the first term and entry of the group, which makes all its members voters. A
// replica without them would found a group of its own.
func (n *Network) Seed(t testing.TB, log raft.LogStore, stable raft.StableStore) {
	t.Helper()
	if err := stable.SetUint64([]byte("CurrentTerm"), 1); err != nil {
		t.Fatal(err)
	}
	var configuration raft.Configuration
	for _, id := range n.ids {
		configuration.Servers = append(configuration.Servers,
			raft.Server{Suffrage: raft.Voter, ID: id, Address: raft.ServerAddress(id)})
	}
	entry := &raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(configuration)}
	if err := log.StoreLog(entry); err != nil {
		t.Fatal(err)
	}
}

// Transport makes the transport of a member, connected with those that there are. A member that is started
// again gets a new one.
func (n *Network) Transport(id raft.ServerID) func(string) group.Transport {
	return func(string) group.Transport {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !slices.Contains(n.ids, id) {
			panic("replicatest: " + string(id) + " is no member")
		}
		_, own := raft.NewInmemTransport(raft.ServerAddress(id))
		for _, other := range n.transports {
			if other.LocalAddr() != own.LocalAddr() {
				own.Connect(other.LocalAddr(), other)
				other.Connect(own.LocalAddr(), own)
			}
		}
		n.transports[id] = own
		return transport{own}
	}
}

// Cut takes a member's connections away.
func (n *Network) Cut(id raft.ServerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.transports[id].DisconnectAll()
	for _, other := range n.transports {
		other.Disconnect(raft.ServerAddress(id))
	}
}

// Heal gives them back.
func (n *Network) Heal(id raft.ServerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	own := n.transports[id]
	for _, other := range n.transports {
		if other != own {
			own.Connect(other.LocalAddr(), other)
			other.Connect(own.LocalAddr(), own)
		}
	}
}

// Elect makes a member stand for election until it leads. It wins if it has all that was committed, and
// nobody else stands at the same time.
func (n *Network) Elect(t testing.TB, id raft.ServerID, leads func() bool) {
	t.Helper()
	n.mu.Lock()
	own := n.transports[id]
	n.mu.Unlock()
	const patience = 100 // looks, some milliseconds each, before it stands again
	looks := 0
	Await(t, string(id)+" leads", func() bool {
		if leads() {
			return true
		}
		if looks%patience == 0 {
			campaign(own)
		}
		looks++
		return false
	})
}

// Await polls until done, for what Raft does by its timers and tells nobody of.
func Await(t testing.TB, what string, done func() bool) {
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

// transport adds what a group wants of its transport to Raft's own for tests.
type transport struct{ *raft.InmemTransport }

// Campaign implements group.Transport.
func (t transport) Campaign() error {
	campaign(t.InmemTransport)
	return nil
}

// campaign sends TimeoutNow from a transport that exists for this purpose. It does not wait for the answer.
func campaign(own *raft.InmemTransport) {
	self := own.LocalAddr()
	_, other := raft.NewInmemTransport("campaign-" + self)
	other.Connect(self, own)
	go func() {
		var response raft.TimeoutNowResponse
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(self), Addr: []byte(self)}
		_ = other.TimeoutNow(raft.ServerID(self), self, &raft.TimeoutNowRequest{RPCHeader: header}, &response)
	}()
}
