// Package group runs one Raft instance over the stores that it is given: it bootstraps a group without
// history, starts elections by hand where nobody else could win, and reports leadership.
package group

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// ErrClosed says that a group was closed while, or before, somebody waited for it.
var ErrClosed = errors.New("group is closed")

// Group is one running Raft instance with its stores. The stores stay their owner's: Close leaves them
// open. Safe for concurrent use.
type Group struct {
	name    string
	raft    *raft.Raft
	onLeads func(bool)

	notify   chan bool             // raft says whether this server leads
	observed chan raft.Observation // raft says that the leader changed
	stop     chan struct{}         // closed after raft has ended
	done     chan struct{}         // closed when the watcher has ended

	close    sync.Once
	closeErr error // written inside close

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, at every change of leader
}

// Start starts raft over the stores. A group without any history becomes a group of one voter,
// this server; such a group is told to elect itself at once, so that it leads after two small writes and
// not after an election timeout. Settings that are not in the options follow from what many mostly idle
// groups in a process need.
func Start(o Options) (*Group, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	g, err := start(o)
	if err != nil {
		return nil, fmt.Errorf("start group %s: %w", o.Name, err)
	}
	return g, nil
}

func start(o Options) (*Group, error) {
	logger := o.logger()
	if err := bootstrap(o); err != nil {
		return nil, err
	}
	if err := checkContinuity(o.Log, o.Snapshots); err != nil {
		return nil, err
	}
	g := &Group{
		name: o.Name, onLeads: o.OnLeadership,
		notify: make(chan bool, 1), observed: make(chan raft.Observation, 1),
		stop: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
	}
	config := o.config(logger)
	config.NotifyCh = g.notify
	r, err := raft.NewRaft(config, o.FSM, o.Log, o.Stable, o.Snapshots, o.Transport)
	if err != nil {
		return nil, err
	}
	g.raft = r
	r.RegisterObserver(raft.NewObserver(g.observed, false, func(ob *raft.Observation) bool {
		_, ok := ob.Data.(raft.LeaderObservation)
		return ok
	}))
	go g.watch()
	if g.isOnlyVoter(o.ID) {
		if err := o.Transport.Campaign(); err != nil {
			return nil, errors.Join(err, g.Close())
		}
	}
	return g, nil
}

// isOnlyVoter tells whether nobody else could be, or become, the leader.
func (g *Group) isOnlyVoter(id raft.ServerID) bool {
	config := g.raft.GetConfiguration().Configuration()
	voters, self := 0, false
	for _, s := range config.Servers {
		if s.Suffrage == raft.Voter {
			voters++
			self = self || s.ID == id
		}
	}
	return voters == 1 && self
}

// watch turns raft's notifications into calls of OnLeadership and wakes those who wait for a leader.
// Raft stands still while it cannot deliver a notification, so this goroutine outlives raft.
func (g *Group) watch() {
	defer close(g.done)
	leads := false
	turn := func(now bool) {
		if now != leads {
			leads = now
			if g.onLeads != nil {
				g.onLeads(now)
			}
		}
		g.wakeWaiters()
	}
	for {
		select {
		case now := <-g.notify:
			turn(now)
		case <-g.observed:
			g.wakeWaiters()
		case <-g.stop:
			turn(false)
			return
		}
	}
}

func (g *Group) wakeWaiters() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.changed)
	g.changed = make(chan struct{})
}

// Name is the group's name.
func (g *Group) Name() string { return g.name }

// Raft is the instance itself. Use Close, not its Shutdown.
func (g *Group) Raft() *raft.Raft { return g.raft }

// IsLeader tells whether this server leads the group, as far as it knows.
func (g *Group) IsLeader() bool { return g.raft.State() == raft.Leader }

// WaitLeader waits until the group has a leader, as far as this server knows; in a group of one voter
// that is this server, and it takes entries from then on. Entries of earlier terms may still be on
// their way to the state machine: a barrier waits for those.
func (g *Group) WaitLeader(ctx context.Context) error {
	for {
		g.mu.Lock()
		changed := g.changed
		g.mu.Unlock()
		if g.isClosed() {
			return fmt.Errorf("wait for a leader of group %s: %w", g.name, ErrClosed)
		}
		if _, id := g.raft.LeaderWithID(); id != "" {
			return nil
		}
		select {
		case <-changed: // also by the watcher's end
		case <-ctx.Done():
			return fmt.Errorf("wait for a leader of group %s: %w", g.name, context.Cause(ctx))
		}
	}
}

func (g *Group) isClosed() bool {
	select {
	case <-g.stop:
		return true
	default:
		return false
	}
}

// Close stops raft and waits until its goroutines, and the one that calls OnLeadership, have ended; the
// latter has then been called with false if the last call said true. It is idempotent, and must not be
// called from OnLeadership or from the state machine.
func (g *Group) Close() error {
	g.close.Do(func() {
		if err := g.raft.Shutdown().Error(); err != nil {
			g.closeErr = fmt.Errorf("close group %s: %w", g.name, err)
		}
		close(g.stop)
	})
	<-g.done
	return g.closeErr
}
