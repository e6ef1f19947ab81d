// Package transport carries the calls of Raft groups between servers. Local serves groups of one voter,
// which have no peers.
package transport

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

var (
	// ErrNoPeers says that a group of one voter was asked to talk to another server.
	ErrNoPeers = errors.New("this group has no peers")
	// ErrBusy says that a group has not taken the calls that wait for it.
	ErrBusy = errors.New("too many calls wait for the group")
)

// Local is the transport of a group with one voter: every call to a peer fails with
// ErrNoPeers. It has no goroutines and nothing to close.
type Local struct {
	id    raft.ServerID
	calls chan raft.RPC
}

// NewLocal is the transport of the server id, whose address is its id.
func NewLocal(id raft.ServerID) *Local {
	return &Local{id: id, calls: make(chan raft.RPC, 1)}
}

func (t *Local) Campaign() error {
	// The answer stays in the channel: an error would mean that raft changed its protocol.
	answer := make(chan raft.RPCResponse, 1)
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(t.id), Addr: []byte(t.id)}
	select {
	case t.calls <- raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: header}, RespChan: answer}:
		return nil
	default:
		return fmt.Errorf("campaign as %s: %w", t.id, ErrBusy)
	}
}

func (t *Local) Consumer() <-chan raft.RPC { return t.calls }

func (t *Local) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.id) }

func (t *Local) noPeers(call string, id raft.ServerID) error {
	return fmt.Errorf("%s from %s to %s: %w", call, t.id, id, ErrNoPeers)
}

func (t *Local) AppendEntriesPipeline(id raft.ServerID, _ raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, t.noPeers("append entries", id)
}

func (t *Local) AppendEntries(id raft.ServerID, _ raft.ServerAddress, _ *raft.AppendEntriesRequest, _ *raft.AppendEntriesResponse) error {
	return t.noPeers("append entries", id)
}

func (t *Local) RequestVote(id raft.ServerID, _ raft.ServerAddress, _ *raft.RequestVoteRequest, _ *raft.RequestVoteResponse) error {
	return t.noPeers("request vote", id)
}

func (t *Local) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, _ *raft.RequestPreVoteRequest, _ *raft.RequestPreVoteResponse) error {
	return t.noPeers("request pre-vote", id)
}

func (t *Local) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, _ *raft.InstallSnapshotRequest, _ *raft.InstallSnapshotResponse, _ io.Reader) error {
	return t.noPeers("install snapshot", id)
}

func (t *Local) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, _ *raft.TimeoutNowRequest, _ *raft.TimeoutNowResponse) error {
	return t.noPeers("timeout now", id)
}

// EncodePeer and DecodePeer exist for raft's obsolete protocol versions.
func (t *Local) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte {
	return []byte(addr)
}

func (t *Local) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler ignores the shortcut for heartbeats, of which there are none.
func (t *Local) SetHeartbeatHandler(func(raft.RPC)) {}
