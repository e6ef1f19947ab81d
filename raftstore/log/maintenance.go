package log

import "sync"

// housekeeper does what appends should not wait for: the next segment's file, the index files of sealed
// segments, and syncs under FlushRelaxed. One goroutine at a time, started on demand, awaited by Close. Guarded by Log.mu.
type housekeeper struct {
	running   bool
	preparing bool
	held      bool // preparing failed: leave it to whoever needs the room
	unindexed []*segment
	changed   *sync.Cond // preparing ended
	group     sync.WaitGroup
}

func (k *housekeeper) wait() { k.group.Wait() }

// housekeepingWantedLocked: the next segment is made when the active one is half full.
func (l *Log) housekeepingWantedLocked() bool {
	k := &l.keeper
	if k.running || l.closed {
		return false
	}
	return len(k.unindexed) > 0 || l.nextWantedLocked() || l.syncWantedLocked()
}

func (l *Log) syncWantedLocked() bool {
	return l.o.Flush == FlushRelaxed && l.active != nil && l.Failed() == nil &&
		l.active.tail.Load().size-l.durable >= l.o.syncBehind
}

func (l *Log) nextWantedLocked() bool {
	return l.next == nil && !l.keeper.held && !l.keeper.preparing && l.active != nil && l.Failed() == nil &&
		l.active.tail.Load().size > l.active.capacity/2
}

func (l *Log) kickKeeper() {
	l.mu.Lock()
	if !l.housekeepingWantedLocked() {
		l.mu.Unlock()
		return
	}
	l.keeper.running = true
	l.keeper.group.Add(1)
	l.mu.Unlock()
	if l.o.inline {
		l.keepHouse()
		return
	}
	go l.keepHouse()
}

func (l *Log) keepHouse() {
	defer l.keeper.group.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := &l.keeper
	defer func() { k.running = false }()
	for !l.closed {
		switch {
		case l.nextWantedLocked():
			l.prepareNextLocked()
		case l.syncWantedLocked():
			l.mu.Unlock()
			_ = l.Sync() // a failure stops the log
			l.mu.Lock()
		case len(k.unindexed) > 0:
			s := k.unindexed[0]
			k.unindexed = k.unindexed[1:]
			l.mu.Unlock()
			l.writeIndex(s)
			l.mu.Lock()
		default:
			return
		}
	}
}

// prepareNextLocked works without the lock.
func (l *Log) prepareNextLocked() {
	k := &l.keeper
	l.sequence++
	sequence, capacity := l.sequence, l.nextCapacityLocked(0)
	k.preparing = true
	l.mu.Unlock()
	next, err := l.prepare(sequence, capacity)
	l.mu.Lock()
	k.preparing = false
	k.changed.Broadcast()
	if err != nil {
		k.held = true
		l.o.Logger.Warn("the next log segment could not be prepared ahead", "dir", l.dir, "err", err)
		return
	}
	l.next = next
	l.noteRoomLocked()
}
