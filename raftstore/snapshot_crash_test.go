package raftstore

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/vfs"
)

var errPowerLoss = errors.New("power loss")

// snapshotText is long enough for several writes.
func snapshotText(index uint64) string {
	return strings.Repeat(fmt.Sprintf("state at %d;", index), 20_000)
}

// snapshotScript takes snapshots until something fails, and tells the last one that was acknowledged
// and the one that was under way.
func snapshotScript(fsys vfs.FS) (acked, tried uint64, err error) {
	s, err := OpenSnapshots(fsys, "snapshots", 2)
	if err != nil {
		return 0, 0, err
	}
	for _, index := range []uint64{10, 20, 30, 40} {
		if err := takeSnapshot(s, index, snapshotText(index)); err != nil {
			return acked, index, err
		}
		acked = index
	}
	return acked, 0, nil
}

// crashSnapshots loses power at every operation of the script in turn, several times each, and returns
// the first broken promise that it finds.
func crashSnapshots(wrap func(vfs.FS) vfs.FS) error {
	for k := uint64(1); ; k++ {
		m := vfs.NewMem()
		acked, tried, scriptErr := snapshotScript(wrap(vfs.NewFaulty(m, vfs.FailFrom(k, errPowerLoss))))
		for seed := range int64(6) {
			var rng *rand.Rand // nil, the harshest crash, for seed 0
			if seed > 0 {
				rng = rand.New(rand.NewSource(seed))
			}
			if err := checkSnapshots(m.CrashClone(rng), acked, tried); err != nil {
				return fmt.Errorf("power loss at operation %d, seed %d: %w", k, seed, err)
			}
		}
		if scriptErr == nil {
			return nil
		}
	}
}

func checkSnapshots(fsys vfs.FS, acked, tried uint64) error {
	s, err := OpenSnapshots(fsys, "snapshots", 2)
	if err != nil {
		return fmt.Errorf("reopening: %w", err)
	}
	if p := s.Problems(); len(p) > 0 {
		return fmt.Errorf("an atomic write left damage: %w", p[0])
	}
	newest, _, _ := s.Newest()
	if newest != acked && newest != tried {
		return fmt.Errorf("newest is %d, acknowledged was %d, tried %d", newest, acked, tried)
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	for _, meta := range list {
		if got, err := snapshotData(s, meta.ID); err != nil || got != snapshotText(meta.Index) {
			return fmt.Errorf("snapshot %s came back wrong: %w", meta.ID, err)
		}
	}
	return takeSnapshot(s, 1000, "goes on")
}

func TestSnapshotsSurviveCrashes(t *testing.T) {
	if err := crashSnapshots(func(f vfs.FS) vfs.FS { return f }); err != nil {
		t.Error(err)
	}
}

// forgetful drops the syncs that make a snapshot atomic.
type forgetful struct {
	vfs.FS
	dirs, files bool
}

func (f forgetful) SyncDir(dir string) error {
	if f.dirs {
		return nil
	}
	return f.FS.SyncDir(dir)
}

func (f forgetful) Create(name string) (vfs.File, error) {
	file, err := f.FS.Create(name)
	if err == nil && f.files {
		file = forgetfulFile{file}
	}
	return file, err
}

type forgetfulFile struct{ vfs.File }

func (forgetfulFile) Sync() error { return nil }

// TestSnapshotCrashTestFinds leaves out one sync or the other: the crash test must see both mistakes.
func TestSnapshotCrashTestFinds(t *testing.T) {
	for _, broken := range []forgetful{{dirs: true}, {files: true}} {
		err := crashSnapshots(func(f vfs.FS) vfs.FS { broken.FS = f; return broken })
		if err == nil {
			t.Errorf("no crash shows that syncs are missing (directories %v, files %v)", broken.dirs, broken.files)
		}
	}
}

// TestSnapshotsSurviveFaults fails each operation once: that snapshot may fail, the store goes on, and
// no later one is touched.
func TestSnapshotsSurviveFaults(t *testing.T) {
	for k, done := uint64(1), false; !done; k++ {
		m := vfs.NewMem()
		mustDo(t, m.MkdirAll("snapshots"))
		faulty := vfs.NewFaulty(m, nil)
		s := openSnapshots(t, faulty, 2)
		start := faulty.Ops()
		faulty.SetHook(vfs.FailAt(start+k, errors.New("fault")))
		for _, index := range []uint64{10, 20, 30} {
			err := takeSnapshot(s, index, snapshotText(index))
			if listed := strings.Contains(indexes(t, s), fmt.Sprint(index)); listed != (err == nil) {
				t.Errorf("fault at %d: snapshot %d listed %v, error %v", k, index, listed, err)
			}
		}
		done = faulty.Ops() < start+k
		faulty.SetHook(nil)
		mustDo(t, takeSnapshot(s, 40, snapshotText(40)))
		if !strings.HasPrefix(indexes(t, s), "40 ") {
			t.Errorf("fault at %d: listed %s", k, indexes(t, s))
		}
		mustDo(t, checkSnapshots(m, 40, 0))
	}
}
