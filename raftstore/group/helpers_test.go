package group

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/stable"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errPowerLoss = errors.New("power loss")

// noLeaks fails the test if it leaves goroutines behind. Call it first, so that it looks last.
func noLeaks(t *testing.T) {
	t.Helper()
	present := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, present) })
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openStable(t testing.TB, path string) *stable.Store {
	t.Helper()
	s, err := stable.Open(vfs.OS(), path)
	mustDo(t, err)
	t.Cleanup(func() { mustDo(t, s.Close()) })
	return s
}

func openSnapshots(t testing.TB, fsys vfs.FS, dir string) *snapshot.Store {
	t.Helper()
	s, err := snapshot.Open(fsys, dir, snapshot.Options{Retain: 2})
	mustDo(t, err)
	return s
}
