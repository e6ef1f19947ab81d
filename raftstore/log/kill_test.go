package log

import (
	"errors"
	"fmt"
	"math/rand"
	"syscall"
	"testing"

	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// killEverywhere runs the script until each of its file system operations in turn is the one at which the process is
// killed, goes on with a second process for a while or not at all, loses power, and returns the first violation of
// the expectation.
func killEverywhere(flush FlushMode, seed int64, steps int, wrap func(vfs.FS) vfs.FS) error {
	for k := uint64(1); ; k++ {
		for variant := range int64(3) {
			finished, err := killAt(flush, seed, steps, k, variant, wrap)
			if err != nil {
				return fmt.Errorf("seed %d, killed at operation %d, variant %d: %w", seed, k, variant, err)
			}
			if finished {
				return nil
			}
		}
	}
}

func killAt(flush FlushMode, seed int64, steps int, k uint64, variant int64, wrap func(vfs.FS) vfs.FS) (finished bool, err error) {
	mem := vfs.NewMem()
	script := newCrashScript(seed)
	switch err := script.run(wrap(vfs.NewFaulty(mem, vfs.FailFrom(k, vfs.ErrKilled))), flush, steps); {
	case err == nil:
		return true, nil
	case !errors.Is(err, vfs.ErrKilled):
		return false, fmt.Errorf("unexpected error: %w", err)
	}
	if err := script.check(wrap(mem)); err != nil {
		return false, fmt.Errorf("after the kill: %w", err)
	}
	if variant > 0 {
		second := uint64(10 + (int64(k)*7+variant*13)%60)
		err := script.run(wrap(vfs.NewFaulty(mem, vfs.FailFrom(second, vfs.ErrKilled))), flush, 4)
		if err != nil && !errors.Is(err, vfs.ErrKilled) {
			return false, fmt.Errorf("second run: %w", err)
		}
	}
	for loss := range int64(2) {
		var rng *rand.Rand // the first loses all that is not synced
		if loss > 0 {
			rng = rand.New(rand.NewSource(seed*1000 + int64(k)*10 + variant))
		}
		left := *script
		if err := left.check(wrap(mem.CrashClone(rng))); err != nil {
			return false, fmt.Errorf("after the power loss: %w", err)
		}
	}
	return false, nil
}

// TestLogSurvivesKillsThenPowerLoss: what a process finds after another was killed, and builds on, survives a power
// loss.
func TestLogSurvivesKillsThenPowerLoss(t *testing.T) {
	for name, flush := range map[string]FlushMode{"fsync": FlushFsync, "relaxed": FlushRelaxed} {
		t.Run(name, func(t *testing.T) {
			for seed := range int64(*logCrashSeeds) {
				if err := killEverywhere(flush, seed+1, 30, asIs); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestKillWhileDirectoryIsMade: the directory that a killed process made is durable before entries in it are
// acknowledged.
func TestKillWhileDirectoryIsMade(t *testing.T) {
	for k := uint64(1); k < 20; k++ {
		mem := vfs.NewMem()
		o := Options{inline: true}
		_, _ = Open(vfs.NewFaulty(mem, vfs.FailFrom(k, vfs.ErrKilled)), "data/t.1/0", o)
		l, err := Open(mem, "data/t.1/0", o)
		if err != nil {
			t.Fatal(err)
		}
		store(t, l, command(1, 1, recordtest.Opaque(1, 1, 1000, 1)))
		again, err := Open(mem.CrashClone(nil), "data/t.1/0", o)
		if err != nil {
			t.Fatal(err)
		}
		if last, _ := again.LastIndex(); last != 1 {
			t.Fatalf("killed at operation %d: entry 1 was acknowledged, the log ends at %d", k, last)
		}
	}
}

// TestFailedSyncThenRestart fails each sync of a script, restarts the process on the same page cache, goes on, and
// loses power: what the second process acknowledged is there, and so is everything before it.
func TestFailedSyncThenRestart(t *testing.T) {
	for seed := int64(1); seed <= int64(*logCrashSeeds); seed++ {
		for nth := 1; ; nth++ {
			mem := vfs.NewMem()
			script := newCrashScript(seed)
			err := script.run(vfs.NewFaulty(mem, failSync(nth)), FlushFsync, 30)
			if err == nil {
				break
			}
			if !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			if err := script.check(mem); err != nil {
				t.Fatalf("seed %d, sync %d failed: after the restart: %v", seed, nth, err)
			}
			if nth%2 == 0 {
				if err := script.run(mem, FlushFsync, 3); err != nil {
					t.Fatal(err)
				}
			}
			for loss := range int64(3) {
				var rng *rand.Rand
				if loss > 0 {
					rng = rand.New(rand.NewSource(seed*1000 + int64(nth)*10 + loss))
				}
				left := *script
				if err := left.check(mem.CrashClone(rng)); err != nil {
					t.Fatalf("seed %d, sync %d failed: after the power loss: %v", seed, nth, err)
				}
			}
		}
	}
}

// failSync fails the nth sync of a file, and that one alone.
func failSync(nth int) vfs.Hook {
	return func(op vfs.Op) error {
		if op.Kind == vfs.OpSync || op.Kind == vfs.OpSyncData {
			if nth--; nth == 0 {
				return syscall.EIO
			}
		}
		return nil
	}
}

// TestOpenWithFailingReads fails each operation of Open in turn, with what a bad sector and a lack of descriptors
// bring. Open fails with that error, or succeeds with everything there; the next Open finds everything.
func TestOpenWithFailingReads(t *testing.T) {
	mem := vfs.NewMem()
	script := newCrashScript(5)
	if err := script.run(mem, FlushFsync, 40); err != nil {
		t.Fatal(err)
	}
	for _, cause := range []error{syscall.EIO, syscall.EMFILE} {
		for k := uint64(1); ; k++ {
			faulty := vfs.NewFaulty(mem, vfs.FailAt(k, cause))
			o, err := crashOptions(faulty, FlushFsync)
			if err == nil {
				var l *Log
				if l, err = Open(faulty, crashDir, o); err == nil {
					err = errors.Join(script.compare(l), l.Close())
				}
			}
			if err != nil && !errors.Is(err, cause) {
				t.Fatalf("%v at operation %d: %v", cause, k, err)
			}
			left := *script
			if err := left.check(mem); err != nil {
				t.Fatalf("after %v at operation %d: %v", cause, k, err)
			}
			if faulty.Ops() < k {
				break
			}
		}
	}
}
