package partition

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// sealedSegment is a segment behind the newest snapshot of what killedWithoutSnapshot leaves.
const sealedSegment = "data/0/00000000000000000002.seg"

// killedWithoutSnapshot fills some segments, and returns what a kill leaves before a snapshot was taken.
func killedWithoutSnapshot(t *testing.T) (*rig, *vfs.Mem) {
	t.Helper()
	fsys := vfs.NewMem()
	r := newRig(t, fsys)
	r.config.SegmentBytes = 64 << 10
	p := r.open()
	for i := range 60 {
		appendValues(t, p, nil, fmt.Sprint(i)+strings.Repeat("x", 8<<10))
	}
	disk := fsys.CrashClone(nil)
	r.close(p)
	return r, disk
}

// TestDamageBehindTheSnapshot: raft reads every entry behind the newest snapshot at the start. Damage there
// is the damage of this partition, with file and position, and does not end the process.
func TestDamageBehindTheSnapshot(t *testing.T) {
	r, disk := killedWithoutSnapshot(t)
	f, err := disk.Open(sealedSegment)
	if err == nil {
		_, err = f.WriteAt([]byte("garbled"), 20000)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.fs = disk
	if _, err := r.tryOpen(); !IsDamage(err) || !errors.Is(err, group.ErrDamaged) || !strings.Contains(err.Error(), sealedSegment) {
		t.Errorf("open: %v", err)
	}
}

// TestReadErrorAtStart: a read that fails at the start is no damage, and opening succeeds when it has
// passed.
func TestReadErrorAtStart(t *testing.T) {
	r, disk := killedWithoutSnapshot(t)
	for kind, cause := range map[vfs.OpKind]error{vfs.OpOpen: syscall.EMFILE, vfs.OpRead: syscall.EIO} {
		faulty := vfs.NewFaulty(disk, nil)
		for k := 1; ; k++ {
			n, failed := 0, false
			faulty.SetHook(func(op vfs.Op) error {
				if op.Kind != kind || op.Name != sealedSegment {
					return nil
				}
				if n++; n < k {
					return nil
				}
				failed = true
				return cause
			})
			r.fs = faulty
			p, err := r.tryOpen()
			if err == nil {
				err = p.Close() // which may find a read that failed after the start
			}
			if err != nil && (IsDamage(err) || !errors.Is(err, cause)) {
				t.Errorf("%s fails from the %d. on: %v", kind, k, err)
			}
			faulty.SetHook(nil)
			if !failed {
				break
			}
		}
	}
	p := r.open()
	if got := len(values(t, p, 0)); got != 60 {
		t.Errorf("%d records are there", got)
	}
	r.close(p)
}
