package controller

import (
	"errors"
	"syscall"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
)

// proposeError says in the table's words why the group did not take a command.
func proposeError(kind string, err error) error {
	switch {
	case errors.Is(err, raft.ErrRaftShutdown):
		return errcode.New(errcode.ShuttingDown, "metadata command %s: the broker is shutting down: %w", kind, err)
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return errcode.New(errcode.NotLeaderOrFollower, "metadata command %s: the metadata group has no leader here just now; try again: %w", kind, err)
	case errors.Is(err, raft.ErrLeadershipLost):
		return errcode.New(errcode.RequestTimedOut, "metadata command %s: leadership was lost; it may still take effect: %w", kind, err)
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return errcode.New(errcode.Overloaded, "metadata command %s: too many commands are waiting: %w", kind, err)
	case errors.Is(err, syscall.ENOSPC):
		return errcode.New(errcode.DiskFull, "metadata command %s: the disk is full: make room and try again: %w", kind, err)
	}
	return errcode.New(errcode.StorageFailed, "metadata command %s: the metadata log failed; check the disk and restart the broker: %w", kind, err)
}
