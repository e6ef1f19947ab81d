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
	// ErrNoPeers is returned for every call to another server: a group of one voter has none.
	ErrNoPeers = errors.New("this group has no peers")
	// ErrBusy means that the group has not taken the calls which were made before.
	ErrBusy = errors.New("too many calls wait for the group")
)

// Local is the transport of a group with one voter: every call to a peer fails with
// ErrNoPeers. It has no goroutines and nothing to close.
type Local struct {
	id    raft.ServerID
	calls chan raft.RPC
}

// NewLocal returns the transport of a server whose address is its id.
func NewLocal(id raft.ServerID) *Local {
	return &Local{id: id, calls: make(chan raft.RPC, 1)}
}

// Campaign makes raft start an election by a TimeoutNow call, as a leader that hands over does. It
// returns before the election.
func (t *Local) Campaign() error {
	// Nobody reads the response: a lone voter cannot refuse the call.
	answer := make(chan raft.RPCResponse, 1)
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(t.id), Addr: []byte(t.id)}
	select {
	case t.calls <- raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: header}, RespChan: answer}:
		return nil
	default:
		return fmt.Errorf("campaign as %s: %w", t.id, ErrBusy)
	}
}

// Consumer returns the channel from which raft takes calls.
func (t *Local) Consumer() <-chan raft.RPC { return t.calls }

// LocalAddr returns the server's id.
func (t *Local) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.id) }

func (t *Local) noPeers(call string, id raft.ServerID) error {
	return fmt.Errorf("%s from %s to %s: %w", call, t.id, id, ErrNoPeers)
}

// AppendEntriesPipeline returns ErrNoPeers.
func (t *Local) AppendEntriesPipeline(id raft.ServerID, _ raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, t.noPeers("append entries", id)
}

// AppendEntries returns ErrNoPeers.
func (t *Local) AppendEntries(id raft.ServerID, _ raft.ServerAddress, _ *raft.AppendEntriesRequest, _ *raft.AppendEntriesResponse) error {
	return t.noPeers("append entries", id)
}

// RequestVote returns ErrNoPeers.
func (t *Local) RequestVote(id raft.ServerID, _ raft.ServerAddress, _ *raft.RequestVoteRequest, _ *raft.RequestVoteResponse) error {
	return t.noPeers("request vote", id)
}

// RequestPreVote returns ErrNoPeers.
func (t *Local) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, _ *raft.RequestPreVoteRequest, _ *raft.RequestPreVoteResponse) error {
	return t.noPeers("request pre-vote", id)
}

// InstallSnapshot returns ErrNoPeers.
func (t *Local) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, _ *raft.InstallSnapshotRequest, _ *raft.InstallSnapshotResponse, _ io.Reader) error {
	return t.noPeers("install snapshot", id)
}

// TimeoutNow returns ErrNoPeers.
func (t *Local) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, _ *raft.TimeoutNowRequest, _ *raft.TimeoutNowResponse) error {
	return t.noPeers("timeout now", id)
}

// EncodePeer returns the address; it is for obsolete protocol versions of raft.
func (t *Local) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte {
	return []byte(addr)
}

// DecodePeer is the inverse of EncodePeer.
func (t *Local) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler does nothing: no peer sends heartbeats.
func (t *Local) SetHeartbeatHandler(func(raft.RPC)) {}
