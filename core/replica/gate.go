package replica

import (
	"errors"

	"github.com/hashicorp/raft"
)

// errStale refuses a proposal of an earlier leadership.
var errStale = errors.New("the entry was proposed under an earlier leadership")

// storeGate is the log that Raft gets. It refuses proposals of an earlier leadership: see the package
// comment. Everything else passes.
type storeGate struct {
	Log
	r *Replica
}

// IsMonotonic implements raft.MonotonicLogStore as the log does.
func (g storeGate) IsMonotonic() bool {
	m, ok := g.Log.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// StoreLogs is called by Raft's main goroutine alone, so Raft's role does not change during the call. A
// leader that has not caught up has accepted no proposals under this leadership: those that it stores are
// older. The error makes it step down.
func (g storeGate) StoreLogs(entries []*raft.Log) error {
	if !g.r.caughtUp.Load() && g.r.leads() {
		for _, e := range entries {
			if e.Type == raft.LogCommand {
				return errStale
			}
		}
	}
	return g.Log.StoreLogs(entries)
}

// leads reports whether Raft is the leader; exact on Raft's main goroutine.
func (r *Replica) leads() bool {
	instance := r.raft.Load()
	return instance != nil && instance.State() == raft.Leader
}
