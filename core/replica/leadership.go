package replica

import (
	"time"

	"github.com/wasmill/wasmill/raftstore/group"
)

// Lead is the leadership under which this replica is ready. A caller whose proposal depends on the state
// machine calls it first, then reads the state, and hands it to Propose. The error, an *errcode.Error
// about op, is why the replica takes no proposals. It costs one atomic load.
func (r *Replica) Lead(op string) (Leadership, error) {
	c := condition(r.condition.Load())
	if s := c.state(); s != Ready {
		return 0, r.refusal(op, s)
	}
	return c.leadership(), nil
}

// onLeadership is called by the group, one call at a time. Raft does not begin to lead before the call that
// ended its last leadership has returned. So Raft never leads again while the replica is still ready, or
// caught up, from the last time.
func (r *Replica) onLeadership(leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.caughtUp.Store(false)
	switch s := r.State(); {
	case s >= Failed: // it stays so
	case leads:
		r.toLocked(CatchingUp)
		if r.group != nil { // else started does it
			r.catchUpLocked(r.group)
		}
	case s != Follower:
		r.toLocked(Follower)
	}
}

// catchUpLocked makes the replica ready once a barrier is applied: all entries of earlier terms are
// applied then. What the group is founded on is durable by then too, whatever the log's flush mode: after
// a power loss a relaxed log may lack entries, but it must not lack its beginnings.
func (r *Replica) catchUpLocked(g *group.Group) {
	leadership := condition(r.condition.Load()).leadership()
	r.work.Go(func() { r.catchUp(g, leadership) })
}

// barrierPause is how long a leader waits before it proposes its barrier again. Raft refuses one without
// stepping down while a transfer of the leadership is tried.
const barrierPause = 20 * time.Millisecond

// catchUp goes on until the replica is ready or this leadership is over. Raft steps down over a barrier
// that it could not store, and a log that cannot be synced fails the replica.
func (r *Replica) catchUp(g *group.Group, leadership Leadership) {
	for {
		err := g.Raft().Barrier(0).Error()
		if err == nil {
			err = r.stores.Log.Sync()
		}
		over, changed := r.ready(leadership, err == nil)
		if over {
			return
		}
		r.logger.Debug("a new leader has not caught up with its log yet", "error", err)
		select {
		case <-time.After(barrierPause):
		case <-changed:
		}
	}
}

// ready ends catching up if it has succeeded and that leadership is not over. Unless it is over now, the
// channel is closed at the next change of state.
func (r *Replica) ready(leadership Leadership, succeeded bool) (over bool, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if condition(r.condition.Load()) != newCondition(CatchingUp, leadership) {
		return true, nil
	}
	if succeeded {
		r.caughtUp.Store(true)
		r.toLocked(Ready)
	}
	return succeeded, r.changed
}
