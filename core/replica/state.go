package replica

import "slices"

// State is what a replica may do.
type State uint8

// The states. A replica leads its group in CatchingUp and Ready.
const (
	Follower   State = iota // does not lead; also the state before Start
	CatchingUp              // leads, and has not applied all entries of earlier terms
	Ready                   // leads, and has applied all entries of earlier terms: takes proposals
	Failed                  // takes no proposals until it is opened again; see Failure
	Closing                 // waits for the answers to earlier proposals
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

// Leadership identifies one election of this replica and the time during which it was Ready after it.
type Leadership uint64

// condition is a State and a Leadership in one word, so that they are read together without a lock.
type condition uint64

const stateBits = 8

func newCondition(s State, l Leadership) condition {
	return condition(uint64(l)<<stateBits | uint64(s))
}

func (c condition) state() State           { return State(c & (1<<stateBits - 1)) }
func (c condition) leadership() Leadership { return Leadership(c >> stateBits) }
