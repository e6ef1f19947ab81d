package raftstore

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

var (
	// ErrNoPeers says that a group of one voter was asked to talk to another server.
	ErrNoPeers = errors.New("this group has no peers")
	// ErrTransportBusy says that a group has not taken the calls that wait for it.
	ErrTransportBusy = errors.New("too many calls wait for the group")
)

// Transport is what a group needs of its transport: raft's calls to peers, and a way to start an
// election by hand.
type Transport interface {
	raft.Transport
	raft.WithPreVote
	// Campaign makes this server a candidate at once, without the election timeout and without the
	// pre-vote. It returns before the election. A leader that gets it steps down first, so it is for
	// groups that have no leader.
	Campaign() error
}

// LocalTransport is the transport of a group with one voter: every call to a peer fails with
// ErrNoPeers. It has no goroutines and nothing to close.
type LocalTransport struct {
	id    raft.ServerID
	calls chan raft.RPC
}

// NewLocalTransport is the transport of the server id, whose address is its id.
func NewLocalTransport(id raft.ServerID) *LocalTransport {
	return &LocalTransport{id: id, calls: make(chan raft.RPC, 1)}
}

func (t *LocalTransport) Campaign() error {
	// The answer stays in the channel: an error would mean that raft changed its protocol.
	answer := make(chan raft.RPCResponse, 1)
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(t.id), Addr: []byte(t.id)}
	select {
	case t.calls <- raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: header}, RespChan: answer}:
		return nil
	default:
		return fmt.Errorf("campaign as %s: %w", t.id, ErrTransportBusy)
	}
}

func (t *LocalTransport) Consumer() <-chan raft.RPC { return t.calls }

func (t *LocalTransport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.id) }

func (t *LocalTransport) noPeers(call string, id raft.ServerID) error {
	return fmt.Errorf("%s from %s to %s: %w", call, t.id, id, ErrNoPeers)
}

func (t *LocalTransport) AppendEntriesPipeline(id raft.ServerID, _ raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, t.noPeers("append entries", id)
}

func (t *LocalTransport) AppendEntries(id raft.ServerID, _ raft.ServerAddress, _ *raft.AppendEntriesRequest, _ *raft.AppendEntriesResponse) error {
	return t.noPeers("append entries", id)
}

func (t *LocalTransport) RequestVote(id raft.ServerID, _ raft.ServerAddress, _ *raft.RequestVoteRequest, _ *raft.RequestVoteResponse) error {
	return t.noPeers("request vote", id)
}

func (t *LocalTransport) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, _ *raft.RequestPreVoteRequest, _ *raft.RequestPreVoteResponse) error {
	return t.noPeers("request pre-vote", id)
}

func (t *LocalTransport) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, _ *raft.InstallSnapshotRequest, _ *raft.InstallSnapshotResponse, _ io.Reader) error {
	return t.noPeers("install snapshot", id)
}

func (t *LocalTransport) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, _ *raft.TimeoutNowRequest, _ *raft.TimeoutNowResponse) error {
	return t.noPeers("timeout now", id)
}

// EncodePeer and DecodePeer exist for raft's obsolete protocol versions.
func (t *LocalTransport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte {
	return []byte(addr)
}

func (t *LocalTransport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler ignores the shortcut for heartbeats, of which there are none.
func (t *LocalTransport) SetHeartbeatHandler(func(raft.RPC)) {}
