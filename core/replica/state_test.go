package replica

import "testing"

// TestTransitions holds the table against what may happen to a replica, told in words of its own.
func TestTransitions(t *testing.T) {
	all := []State{Follower, CatchingUp, Ready, Failed, Closing, Closed}
	legal := map[[2]State]string{
		{Follower, CatchingUp}: "elected",
		{CatchingUp, Ready}:    "the barrier is applied",
		{CatchingUp, Follower}: "leadership lost before that",
		{Ready, Follower}:      "leadership lost",
		{Follower, Failed}:     "the log failed",
		{CatchingUp, Failed}:   "the log failed",
		{Ready, Failed}:        "the log failed, or an entry could not be applied",
		{Follower, Closing}:    "closed",
		{CatchingUp, Closing}:  "closed",
		{Ready, Closing}:       "closed",
		{Failed, Closing}:      "closed",
		{Closing, Closed}:      "Raft has ended",
	}
	for _, from := range all {
		for _, to := range all {
			if _, want := legal[[2]State{from, to}]; from.mayBecome(to) != want {
				t.Errorf("%s may become %s: %v, want %v", from, to, !want, want)
			}
		}
	}
}

// TestIllegalTransitionsPanic: the state never changes in a way that the table does not have.
func TestIllegalTransitionsPanic(t *testing.T) {
	for from, states := range transitions {
		for to := Follower; to <= Closed; to++ {
			legal := false
			for _, s := range states {
				legal = legal || s == to
			}
			r := &Replica{changed: make(chan struct{}), options: Options{OnChange: func(State) {}}}
			r.condition.Store(uint64(newCondition(State(from), 7)))
			panicked := func() (panicked bool) {
				defer func() { panicked = recover() != nil }()
				r.toLocked(to)
				return false
			}()
			if panicked == legal {
				t.Errorf("%s to %s: panicked %v, legal %v", State(from), to, panicked, legal)
			}
			if panicked && r.State() != State(from) {
				t.Errorf("%s to %s was refused, and is %s now", State(from), to, r.State())
			}
		}
	}
}

// TestEveryElectionIsALeadershipOfItsOwn: what was admitted under one does not hold under the next.
func TestEveryElectionIsALeadershipOfItsOwn(t *testing.T) {
	r := &Replica{changed: make(chan struct{}), options: Options{OnChange: func(State) {}}}
	seen := map[Leadership]bool{}
	for range 3 {
		r.toLocked(CatchingUp)
		r.toLocked(Ready)
		l, err := r.Lead("append")
		if err != nil || seen[l] {
			t.Fatalf("leadership %d, seen %v, %v", l, seen, err)
		}
		seen[l] = true
		r.toLocked(Follower)
	}
}
