package log

import "sync"

// maintenance is the work that appends should not wait for: making the next segment's file, writing the
// index files of sealed segments, and syncing under FlushRelaxed. At most one goroutine runs at a time; it
// is started when there is work, ends when there is none, and Close waits for it. Log.mu covers all
// fields.
type maintenance struct {
	running bool
	// preparing is set while a segment file is made without mu: nobody else makes one meanwhile.
	preparing bool
	// prepareFailed leaves the next segment to the append that needs it: there was no space, and trying
	// again after each append would fail again. It is cleared when segments are dropped.
	prepareFailed bool
	unindexed     []*segment // sealed segments without an index file
	prepared      *sync.Cond // on Log.mu: preparing became false
	tasks         sync.WaitGroup
}

// maintenanceDueLocked reports whether a goroutine should be started.
func (l *Log) maintenanceDueLocked() bool {
	m := &l.maintenance
	if m.running || l.closed {
		return false
	}
	return len(m.unindexed) > 0 || l.nextDueLocked() || l.syncDueLocked()
}

func (l *Log) syncDueLocked() bool {
	return l.o.Flush == FlushRelaxed && l.active != nil && l.Failed() == nil &&
		l.active.tail.Load().size-l.durable >= l.o.syncBehind
}

// nextDueLocked: the next segment is made when the active one is half full.
func (l *Log) nextDueLocked() bool {
	m := &l.maintenance
	return l.next == nil && !m.prepareFailed && !m.preparing && l.active != nil && l.Failed() == nil &&
		l.active.tail.Load().size > l.active.capacity/2
}

// startMaintenance starts the goroutine if there is work. It adds to tasks under mu and only while the log
// is open: Close sets closed under mu before it waits for tasks.
func (l *Log) startMaintenance() {
	l.mu.Lock()
	if !l.maintenanceDueLocked() {
		l.mu.Unlock()
		return
	}
	l.maintenance.running = true
	l.maintenance.tasks.Add(1)
	l.mu.Unlock()
	if l.o.inline {
		l.maintain()
		return
	}
	go l.maintain()
}

// maintain works until nothing is due. It decides under mu that nothing is, and clears running under the
// same lock: an append that adds work later starts another goroutine.
func (l *Log) maintain() {
	defer l.maintenance.tasks.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	m := &l.maintenance
	defer func() { m.running = false }()
	for !l.closed {
		switch {
		case l.nextDueLocked():
			l.prepareNextLocked()
		case l.syncDueLocked():
			l.mu.Unlock()
			_ = l.Sync() // a failure stops the log
			l.mu.Lock()
		case len(m.unindexed) > 0:
			s := m.unindexed[0]
			m.unindexed = m.unindexed[1:]
			l.mu.Unlock()
			l.writeIndex(s)
			l.mu.Lock()
		default:
			return
		}
	}
}

// prepareNextLocked makes the next segment's file, and releases mu while it does. Others see preparing
// meanwhile: ensureLocked and resetLocked wait for its end.
func (l *Log) prepareNextLocked() {
	m := &l.maintenance
	l.sequence++
	sequence, capacity := l.sequence, l.nextCapacityLocked(0)
	m.preparing = true
	l.mu.Unlock()
	next, err := l.prepare(sequence, capacity)
	l.mu.Lock()
	m.preparing = false
	m.prepared.Broadcast()
	if err != nil {
		m.prepareFailed = true
		l.o.Logger.Warn("next log segment not prepared ahead; an append will make it", "dir", l.dir, "error", err)
		return
	}
	l.next = next
	l.limitNextLocked() // the limit may have changed meanwhile
}
