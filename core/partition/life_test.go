package partition

import (
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/replica/replicatest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

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

// TestCloseWaitsForReaders: the log's files stay open as long as a reader that was let in is at them.
func TestCloseWaitsForReaders(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	appendValues(t, p, nil, "a")
	if !p.life.beginRead() {
		t.Fatal("no reader is let in")
	}
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	replicatest.Await(t, "Close waits for the reader", func() bool {
		if !p.life.readers.TryRLock() {
			return true // as somebody waits for the readers to go
		}
		p.life.readers.RUnlock()
		return len(closed) > 0
	})
	if len(closed) > 0 {
		t.Error("Close has returned while a reader is at the log")
	}
	if data, err := p.log.Read(nil, 0, 1, 1<<10); err != nil || len(data) == 0 {
		t.Errorf("the reader gets %d bytes, %v", len(data), err)
	}
	p.life.readers.RUnlock()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	_, err := p.Fetch(nil, 0, 1)
	wantCode(t, err, errcode.ShuttingDown)
}
