package snapshot

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

var errPowerLoss = errors.New("power loss")

// longText is long enough for several writes.
func longText(index uint64) string {
	return strings.Repeat(fmt.Sprintf("state at %d;", index), 20_000)
}

// runScript takes snapshots until something fails, and tells the last one that was acknowledged
// and the one that was under way.
func runScript(fsys vfs.FS) (acked, tried uint64, err error) {
	s, err := Open(fsys, "snapshots", Options{Retain: 2})
	if err != nil {
		return 0, 0, err
	}
	for _, index := range []uint64{10, 20, 30, 40} {
		if err := take(s, index, longText(index)); err != nil {
			return acked, index, err
		}
		acked = index
	}
	return acked, 0, nil
}

// crashEverywhere loses power at every operation of the script in turn, several times each, and returns
// the first broken promise that it finds.
func crashEverywhere(wrap func(vfs.FS) vfs.FS) error {
	for k := uint64(1); ; k++ {
		m := vfs.NewMem()
		acked, tried, scriptErr := runScript(wrap(vfs.NewFaulty(m, vfs.FailFrom(k, errPowerLoss))))
		if err := checkAfterPowerLoss(m, 6, acked, tried); err != nil {
			return fmt.Errorf("operation %d: %w", k, err)
		}
		if scriptErr == nil {
			return nil
		}
	}
}

// checkAfterPowerLoss checks what several power losses leave, the harshest first.
func checkAfterPowerLoss(m *vfs.Mem, seeds int64, acked, tried uint64) error {
	for seed := range seeds {
		var rng *rand.Rand // nil, the harshest crash, for seed 0
		if seed > 0 {
			rng = rand.New(rand.NewSource(seed))
		}
		if err := checkStore(m.CrashClone(rng), acked, tried); err != nil {
			return fmt.Errorf("power loss, seed %d: %w", seed, err)
		}
	}
	return nil
}

func checkStore(fsys vfs.FS, acked, tried uint64) error {
	var problems errorLog
	s, err := Open(fsys, "snapshots", Options{Retain: 2, Logger: problems.logger()})
	if err != nil {
		return fmt.Errorf("reopening: %w", err)
	}
	if len(problems.errs) > 0 {
		return fmt.Errorf("an atomic write left damage: %w", problems.errs[0])
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
		if got, err := readData(s, meta.ID); err != nil || got != longText(meta.Index) {
			return fmt.Errorf("snapshot %s came back wrong: %w", meta.ID, err)
		}
	}
	return take(s, 1000, "goes on")
}

func TestSnapshotsSurviveCrashes(t *testing.T) {
	if err := crashEverywhere(func(f vfs.FS) vfs.FS { return f }); err != nil {
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
		err := crashEverywhere(func(f vfs.FS) vfs.FS { broken.FS = f; return broken })
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
		s := openStore(t, faulty, 2)
		start := faulty.Ops()
		faulty.SetHook(vfs.FailAt(start+k, errors.New("fault")))
		for _, index := range []uint64{10, 20, 30} {
			err := take(s, index, longText(index))
			if listed := strings.Contains(indexes(t, s), fmt.Sprint(index)); listed != (err == nil) {
				t.Errorf("fault at %d: snapshot %d listed %v, error %v", k, index, listed, err)
			}
		}
		done = faulty.Ops() < start+k
		faulty.SetHook(nil)
		mustDo(t, take(s, 40, longText(40)))
		if !strings.HasPrefix(indexes(t, s), "40 ") {
			t.Errorf("fault at %d: listed %s", k, indexes(t, s))
		}
		mustDo(t, checkStore(m, 40, 0))
	}
}

// killEverywhere kills the process at every operation of the script in turn and starts it again, which
// relies on what it finds: the log may be cut up to there. Then power is lost.
func killEverywhere(wrap func(vfs.FS) vfs.FS) error {
	for k := uint64(1); ; k++ {
		m := vfs.NewMem()
		acked, _, scriptErr := runScript(wrap(vfs.NewFaulty(m, vfs.FailFrom(k, vfs.ErrKilled))))
		s, err := Open(wrap(m), "snapshots", Options{Retain: 2})
		if err != nil {
			return fmt.Errorf("killed at operation %d: %w", k, err)
		}
		found, _, _ := s.Newest()
		if found < acked {
			return fmt.Errorf("killed at operation %d: newest is %d, acknowledged was %d", k, found, acked)
		}
		if err := checkAfterPowerLoss(m, 4, found, found); err != nil {
			return fmt.Errorf("killed at operation %d: %w", k, err)
		}
		if scriptErr == nil {
			return nil
		}
	}
}

// TestSnapshotsSurviveKillAndPowerLoss: a snapshot that a start finds is there from then on, also when the
// process that wrote it was killed before it had synced the name.
func TestSnapshotsSurviveKillAndPowerLoss(t *testing.T) {
	if err := killEverywhere(func(f vfs.FS) vfs.FS { return f }); err != nil {
		t.Error(err)
	}
	if killEverywhere(func(f vfs.FS) vfs.FS { return forgetful{FS: f, dirs: true} }) == nil {
		t.Error("no history shows that syncs of directories are missing")
	}
}

// TestSnapshotReadErrorsAtOpen: a read that fails at the start is an error of the start. The snapshot is not
// taken for damaged, which would make an older one serve.
func TestSnapshotReadErrorsAtOpen(t *testing.T) {
	m := vfs.NewMem()
	if _, _, err := runScript(m); err != nil {
		t.Fatal(err)
	}
	for k, done := uint64(1), false; !done; k++ {
		broken := errors.New("bad sector")
		faulty := vfs.NewFaulty(m, vfs.FailAt(k, broken))
		s, err := Open(faulty, "snapshots", Options{Retain: 2})
		if done = faulty.Ops() < k; done != (err == nil) || err != nil && (!errors.Is(err, broken) || errors.Is(err, ErrCorrupt)) {
			t.Errorf("operation %d fails: %v", k, err)
		}
		if err == nil && !strings.HasPrefix(indexes(t, s), "40 ") {
			t.Errorf("listed %s", indexes(t, s))
		}
	}
}
