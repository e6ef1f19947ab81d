package log

import (
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// stalling is a file system that can stop one SyncData before it happens.
type stalling struct {
	vfs.FS
	next atomic.Pointer[stall] // for the next SyncData; nil lets it through
}

type stall struct{ reached, release chan struct{} }

// stallNext makes the next SyncData close reached and wait for release.
func (f *stalling) stallNext() *stall {
	s := &stall{reached: make(chan struct{}), release: make(chan struct{})}
	f.next.Store(s)
	return s
}

func (f *stalling) Create(name string) (vfs.File, error) { return f.wrap(f.FS.Create(name)) }

func (f *stalling) Open(name string) (vfs.File, error) { return f.wrap(f.FS.Open(name)) }

func (f *stalling) wrap(file vfs.File, err error) (vfs.File, error) {
	return stallingFile{file, f}, err
}

type stallingFile struct {
	vfs.File
	fs *stalling
}

func (f stallingFile) SyncData() error {
	if s := f.fs.next.Swap(nil); s != nil {
		close(s.reached)
		<-s.release
	}
	return f.File.SyncData()
}

func entry(index, term uint64, size int) *raft.Log {
	return command(index, term, recordtest.Opaque(1, 1, size, byte(index)))
}

// TestSyncMeetsOtherWriters stops a Sync before its system call, changes the log in every way that a Sync
// does not exclude, and lets it go on. It must count as durable what a power loss leaves, and no more: what
// it says then, and what the next Sync takes for done already.
func TestSyncMeetsOtherWriters(t *testing.T) {
	for name, change := range map[string]func(l *Log) error{
		"append": func(l *Log) error { return l.StoreLog(entry(4, 1, 5000)) },
		"roll": func(l *Log) error {
			for index := uint64(4); index < 12; index++ {
				if err := l.StoreLog(entry(index, 1, 3000)); err != nil {
					return err
				}
			}
			return nil
		},
		"truncation": func(l *Log) error {
			if err := l.DeleteRange(2, 3); err != nil {
				return err
			}
			return l.StoreLog(entry(2, 2, 200))
		},
		"truncation and more": func(l *Log) error {
			if err := l.DeleteRange(3, 3); err != nil {
				return err
			}
			return l.StoreLogs([]*raft.Log{entry(3, 2, 4000), entry(4, 2, 4000)})
		},
		"reset": func(l *Log) error {
			if err := l.Reset(20, 2, 100); err != nil {
				return err
			}
			return l.StoreLog(entry(21, 2, 100))
		},
	} {
		mem := vfs.NewMem()
		fs := &stalling{FS: mem}
		l := openLog(t, fs, Options{SegmentBytes: 16 << 10, Flush: FlushRelaxed})
		store(t, l, entry(1, 1, 1000), entry(2, 1, 1000), entry(3, 1, 1000))
		stopped, synced := fs.stallNext(), make(chan error)
		go func() { synced <- l.Sync() }()
		<-stopped.reached
		if err := change(l); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		close(stopped.release)
		if err := <-synced; err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if left := afterPowerLoss(t, mem); left < l.DurableIndex() {
			t.Errorf("%s: durable up to %d, but a power loss leaves %d", name, l.DurableIndex(), left)
		}
		if err := l.Sync(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if last, _ := l.LastIndex(); afterPowerLoss(t, mem) != last || l.DurableIndex() != last {
			t.Errorf("%s: a power loss leaves %d of %d entries after another Sync", name, afterPowerLoss(t, mem), last)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// afterPowerLoss is the last index of the log that the harshest power loss would leave.
func afterPowerLoss(t *testing.T, mem *vfs.Mem) uint64 {
	t.Helper()
	l := openLog(t, mem.CrashClone(nil), Options{SegmentBytes: 16 << 10})
	last := l.state.Load().tail().lastIndex // what precedes an empty log is durable in a snapshot
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return last
}
