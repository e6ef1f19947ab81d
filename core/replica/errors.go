package replica

import (
	"errors"
	"syscall"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
)

// retryMs is after how many milliseconds a refused request may be retried.
const retryMs = 1000

// Error translates an error of Raft or of the log to a code. Op names the operation that failed. If the
// replica has failed, the result is its failure; else it wraps err.
func (r *Replica) Error(op string, err error) *errcode.Error {
	if failure := r.Failure(); failure != nil {
		return failure
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errcode.New(errcode.DiskFull, "%s: the disk is full; reads go on, free space and retry: %w", op, err).
			With("retry_after_ms", retryMs)
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, errStale):
		return errcode.New(errcode.NotLeaderOrFollower, "%s: this broker does not lead the group just now; retry: %w", op, err)
	case errors.Is(err, raft.ErrLeadershipLost):
		return errcode.New(errcode.RequestTimedOut, "%s: leadership was lost on the way; it may still take effect: %w", op, err)
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return overloaded(op, err)
	case errors.Is(err, raft.ErrRaftShutdown):
		return errcode.New(errcode.ShuttingDown, "%s: the broker is shutting down; retry in a moment: %w", op, err)
	}
	return errcode.New(errcode.StorageFailed, "%s: the storage failed; check the disk and restart the broker: %w", op, err)
}

// errFull says that maxPending proposals are not answered.
var errFull = errors.New("too many proposals wait for the disk")

func overloaded(op string, err error) *errcode.Error {
	return errcode.New(errcode.Overloaded, "%s: slow down and retry: %w", op, err).With("retry_after_ms", retryMs)
}

// refusal is why nothing is admitted in a state.
func (r *Replica) refusal(op string, s State) *errcode.Error {
	switch s {
	case Failed:
		return r.Failure()
	case Closing, Closed:
		return r.Error(op, raft.ErrRaftShutdown)
	case CatchingUp:
		return errcode.New(errcode.NotLeaderOrFollower,
			"%s: this broker has just been elected and still applies what is in its log; retry", op).With("retry_after_ms", retryMs)
	}
	return r.Error(op, raft.ErrNotLeader)
}
