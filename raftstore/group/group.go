// Package group runs one Raft instance over the stores that it is given. It bootstraps a group without
// history, lets a lone voter start its election at once, and reports changes of leadership.
package group

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/hashicorp/raft"
)

// ErrClosed is returned to callers that wait for a group which is, or becomes, closed.
var ErrClosed = errors.New("group is closed")

// Group is one running Raft instance. Its stores belong to the caller: Close leaves them open. Safe for
// concurrent use.
type Group struct {
	name         string
	raft         *raft.Raft
	onLeadership func(leads bool) // may be nil

	notify   chan bool             // from raft: whether this server leads; unbuffered, see watch
	observed chan raft.Observation // from raft: the leader changed
	stop     chan struct{}         // closed after raft has shut down
	done     chan struct{}         // closed when watch has returned
	shutdown func() error          // once

	mu      sync.Mutex    // covers changed, for no longer than reading or replacing it
	changed chan struct{} // closed, and replaced, at every change of leader
}

// Start starts raft over the stores. A group without history becomes a group of one voter, this server.
// A server that is the only voter starts its election at once and leads after two small writes, without
// an election timeout. Start does not wait for a leader.
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
	o = o.withDefaults()
	if err := bootstrap(o); err != nil {
		return nil, err
	}
	if err := checkContinuity(o.Log, o.Snapshots); err != nil {
		return nil, err
	}
	read, err := readStart(o)
	if err != nil {
		return nil, err
	}
	failures := &guard{onFailed: o.OnFailed}
	g := &Group{
		name: o.Name, onLeadership: o.OnLeadership,
		notify: make(chan bool), observed: make(chan raft.Observation, 1),
		stop: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
	}
	config := o.raftConfig()
	config.NotifyCh = g.notify
	o.FSM = guardFSM(o.FSM, failures)
	o.Log = raftLog{LogStore: o.Log, guard: failures, start: read}
	o.Stable = raftStable{o.Stable, failures}
	if g.raft, err = newRaft(config, o); err != nil {
		return nil, err
	}
	g.shutdown = sync.OnceValue(g.shutdownRaft)
	g.raft.RegisterObserver(raft.NewObserver(g.observed, false, func(ob *raft.Observation) bool {
		_, ok := ob.Data.(raft.LeaderObservation)
		return ok
	}))
	go g.watch()
	if !read.finished() {
		return nil, errors.Join(errOtherReads, g.Close())
	}
	if g.isOnlyVoter(o.ID) {
		if err := o.Transport.Campaign(); err != nil {
			return nil, errors.Join(err, g.Close())
		}
	}
	return g, nil
}

// errOtherReads is for a raft that does not read what readStart expects. It is a bug of this package.
var errOtherReads = errors.New("raft has not read the log as expected")

// newRaft is raft.NewRaft without its panics. What they report is checked before; should one remain, it
// concerns this group alone. NewRaft starts its goroutines last: there are none after a panic.
func newRaft(config *raft.Config, o Options) (r *raft.Raft, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		err = damaged("raft cannot start: %v", p)
		var errno syscall.Errno
		if cause, ok := p.(error); ok && errors.As(cause, &errno) {
			err = fmt.Errorf("%w: raft cannot start: %w", ErrUnreadable, cause)
		}
	}()
	return raft.NewRaft(config, o.FSM, o.Log, o.Stable, o.Snapshots, o.Transport)
}

// isOnlyVoter reports whether no other server can be, or become, the leader.
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

// watch calls OnLeadership and wakes the callers of WaitLeader. Raft blocks while it cannot deliver a
// notification, also during its shutdown, so watch returns only after raft has ended.
//
// The channel is unbuffered for the order of leaderships. Raft announces the end of one before it becomes
// a follower, and the next before it takes entries as the leader. It can deliver the second only when
// watch has returned from the call for the first: raft never leads anew before OnLeadership(false) has
// returned.
func (g *Group) watch() {
	defer close(g.done)
	leads := false
	setLeads := func(now bool) {
		if now != leads {
			leads = now
			if g.onLeadership != nil {
				g.onLeadership(now)
			}
		}
		g.wakeWaiters()
	}
	for {
		select {
		case now := <-g.notify:
			setLeads(now)
		case <-g.observed:
			g.wakeWaiters()
		case <-g.stop:
			setLeads(false)
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

// WaitLeader waits until the group has a leader, as far as this server knows. In a group of one voter
// that is this server, which accepts entries from then on. The state machine may still lack entries of
// earlier terms: a barrier waits for those.
func (g *Group) WaitLeader(ctx context.Context) error {
	for {
		// Taken before the leader is read: a change between the two closes this channel.
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
		case <-changed: // also closed when watch returns
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

// Close stops raft and waits until all goroutines of the group have ended. If the last call of
// OnLeadership said true, it is called with false before. Close is idempotent. It must not be called
// from OnLeadership or from the state machine.
func (g *Group) Close() error {
	err := g.shutdown()
	<-g.done
	return err
}

func (g *Group) shutdownRaft() error {
	defer close(g.stop)
	if err := g.raft.Shutdown().Error(); err != nil {
		return fmt.Errorf("close group %s: %w", g.name, err)
	}
	return nil
}
