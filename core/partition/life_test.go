package partition

import "testing"

// TestLifeTransitions holds the table against what may happen to a partition, told in words of its own.
func TestLifeTransitions(t *testing.T) {
	legal := map[[2]lifeState]string{
		{opening, serving}:  "its replica has started",
		{opening, failed}:   "its log failed before that",
		{serving, failed}:   "its replica failed",
		{serving, closing}:  "Close",
		{serving, deleting}: "Delete",
		{failed, closing}:   "Close",
		{failed, deleting}:  "Delete",
		{closing, closed}:   "everything is closed",
		{closing, deleting}: "Delete during a Close",
		{closed, deleting}:  "Delete after a Close",
		{deleting, deleted}: "its files are gone",
	}
	for from := opening; from <= deleted; from++ {
		for to := opening; to <= deleted; to++ {
			var l life
			l.state.Store(uint32(from))
			_, want := legal[[2]lifeState{from, to}]
			if got := l.become(to); got != want {
				t.Errorf("%s may become %s: %v, want %v", from, to, got, want)
			}
			after := from
			if want {
				after = to
			}
			if l.now() != after {
				t.Errorf("asked to become %s, %s became %s", to, from, l.now())
			}
		}
	}
}

// TestLifeLetsIn: work only while serving, reads until the end begins.
func TestLifeLetsIn(t *testing.T) {
	for s := opening; s <= deleted; s++ {
		var l life
		l.state.Store(uint32(s))
		at, entered := l.enter()
		if entered != (s == serving) || at != s {
			t.Errorf("%s: entered %v, at %s", s, entered, at)
		}
		if entered {
			l.work.Done()
		}
		l.work.Wait()
		read := l.beginRead()
		if read != (s < closing) {
			t.Errorf("%s: reads %v", s, read)
		}
		if read {
			l.readers.RUnlock()
		}
		l.awaitReaders()
	}
}
