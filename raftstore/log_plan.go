package raftstore

// RetentionOffset is where the log would start if everything that the retention allows were dropped
// now, whatever snapshots still need. The leader proposes it as the new log start offset, so that all
// replicas agree on it; each then calls Retain with that offset as BeforeOffset.
func (l *Log) RetentionOffset(p Retention) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.state.Load()
	if len(st.segments) == 0 {
		return st.startOffset
	}
	n := l.expiredLocked(p, len(st.segments)-1)
	return max(st.startOffset, st.segments[n].baseOffset)
}
