package partition

import (
	"slices"
	"sync"
	"sync/atomic"
)

// lifeState is where a partition is between its opening and its end.
type lifeState uint32

const (
	opening  lifeState = iota // its stores are open, its replica is not started
	serving                   // reads and, while its replica is ready, writes
	failed                    // reads only: its replica has failed
	closing                   // answers what it took
	closed                    // its files are closed
	deleting                  // closing, or closed, to be removed
	deleted                   // its files are gone
)

func (s lifeState) String() string {
	return [...]string{"opening", "serving", "failed", "closing", "closed", "deleting", "deleted"}[s]
}

// lifeTransitions are the states that may follow each state.
var lifeTransitions = [...][]lifeState{
	opening:  {serving, failed},
	serving:  {failed, closing, deleting},
	failed:   {closing, deleting},
	closing:  {closed, deleting},
	closed:   {deleting},
	deleting: {deleted},
	deleted:  {},
}

// life is a partition's state and the work that depends on it.
//
// Close and Delete first change the state and then wait for the work that was admitted before. So what
// enter and beginRead admit finds the log open until it ends:
//
//	a reader                              Close
//	readers.RLock
//	the state is serving
//	                                      the state becomes closing
//	reads the log                         waits for readers.Lock
//	readers.RUnlock
//	                                      closes the log
type life struct {
	state atomic.Uint32 // a lifeState; read without mu, changed under it

	// mu covers two critical sections: a change of the state, and a look at the state together with
	// work.Add. Nothing is waited for under it, and no other lock is taken.
	mu   sync.Mutex
	work sync.WaitGroup // appends and shared proposals under way; counted in while serving

	readers sync.RWMutex // held for reading while the log is read
}

func (l *life) now() lifeState { return lifeState(l.state.Load()) }

// become changes the state if the table allows it, and reports whether it did. What the table refuses is
// not an error: Close, Delete and a failure may happen at the same time, and the later state wins.
func (l *life) become(next lifeState) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(lifeTransitions[l.now()], next) {
		return false
	}
	l.state.Store(uint32(next))
	return true
}

// enter counts a piece of work in, to be ended with work.Done, if the partition serves. Else it returns the
// state that it found.
func (l *life) enter() (s lifeState, entered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s = l.now(); s != serving {
		return s, false
	}
	l.work.Add(1)
	return s, true
}

// beginRead admits a reader, to be ended with readers.RUnlock, unless the partition is closing. It must not
// be nested: a writer that waits between the two RLocks would deadlock with them.
func (l *life) beginRead() bool {
	l.readers.RLock()
	if l.now() >= closing {
		l.readers.RUnlock()
		return false
	}
	return true
}

// awaitReaders waits until all readers that beginRead admitted have ended.
func (l *life) awaitReaders() {
	l.readers.Lock()
	defer l.readers.Unlock()
}
