package replica

import "slices"

// State is what a replica may do.
type State uint8

// The states. A replica leads its group in CatchingUp and Ready.
const (
	Follower   State = iota // another replica leads, or nobody; so it is before Start too
	CatchingUp              // leads, and has not yet applied all entries of earlier terms
	Ready                   // leads, and its state machine has everything: proposals are taken
	Failed                  // stopped for good; see Failure
	Closing                 // answers what was proposed
	Closed                  // Raft has ended
)

func (s State) String() string {
	return [...]string{"follower", "catching up", "ready", "failed", "closing", "closed"}[s]
}

// transitions are the states that may follow each state.
var transitions = [...][]State{
	Follower:   {CatchingUp, Failed, Closing},
	CatchingUp: {Ready, Follower, Failed, Closing},
	Ready:      {Follower, Failed, Closing},
	Failed:     {Closing},
	Closing:    {Closed},
	Closed:     {},
}

func (s State) mayBecome(next State) bool { return slices.Contains(transitions[s], next) }

// Leadership stands for one election of this replica, and for the time that it was Ready after it.
type Leadership uint64

// condition is a State and a Leadership in one word, so that they are read together without a lock.
type condition uint64

const stateBits = 8

func newCondition(s State, l Leadership) condition {
	return condition(uint64(l)<<stateBits | uint64(s))
}

func (c condition) state() State           { return State(c & (1<<stateBits - 1)) }
func (c condition) leadership() Leadership { return Leadership(c >> stateBits) }
