package boltlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openLog(t *testing.T, fsys vfs.FS, name string) *Log {
	t.Helper()
	l, err := Open(fsys, name, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// content lists the log's entries as "first-last: data data".
func content(l *Log) (string, error) {
	first, err := l.FirstIndex()
	if err != nil {
		return "", err
	}
	last, err := l.LastIndex()
	if err != nil {
		return "", err
	}
	var data []string
	for index := first; index <= last && first > 0; index++ {
		var entry raft.Log
		if err := l.GetLog(index, &entry); err != nil {
			return "", err
		}
		data = append(data, string(entry.Data))
	}
	return fmt.Sprintf("%d-%d: %s", first, last, strings.Join(data, " ")), nil
}

func entries(first uint64, data ...string) []*raft.Log {
	var out []*raft.Log
	for i, d := range data {
		out = append(out, &raft.Log{Index: first + uint64(i), Term: 1, Data: []byte(d)})
	}
	return out
}

func TestLogKeepsEntries(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log.db")
	l := openLog(t, vfs.OS(), name)
	if err := errors.Join(l.StoreLog(entries(1, "a")[0]), l.StoreLogs(entries(2, "b", "c", "d")), l.DeleteRange(4, 4), l.DeleteRange(1, 1)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := content(l); got != "2-3: b c" || err != nil {
			t.Errorf("log is %q, %v", got, err)
		}
		if err := l.GetLog(1, new(raft.Log)); err != raft.ErrLogNotFound { //nolint:errorlint // raft compares so
			t.Errorf("a deleted entry: %v", err)
		}
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Error(err)
		}
		l = openLog(t, vfs.OS(), name)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "log.db")
	openLog(t, vfs.OS(), name)
	if _, err := Open(vfs.OS(), name, func(error) {}); err == nil || !strings.Contains(err.Error(), name+" is open in another process") {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := Open(vfs.OS(), filepath.Join(dir, "missing", "log.db"), func(error) {}); err == nil {
		t.Error("a log was made in a missing directory")
	}
	if _, err := Open(vfs.NewMem(), "log.db", func(error) {}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("opened in memory: %v", err)
	}
}

// TestLogFaults stops the disk at each operation of a short life: the call that needs it fails, and what
// was acknowledged is there when the log is opened again.
func TestLogFaults(t *testing.T) {
	broken := errors.New("broken disk")
	for k, done := uint64(1), false; !done; k++ {
		name := filepath.Join(t.TempDir(), "log.db")
		faulty := vfs.NewFaulty(vfs.OS(), vfs.FailFrom(k, broken))
		steps := []func(*Log) error{
			func(l *Log) error { return l.StoreLogs(entries(1, "a", "b")) },
			func(l *Log) error { return l.DeleteRange(1, 1) },
			func(l *Log) error { return l.StoreLog(entries(3, "c")[0]) },
		}
		states := []string{"0-0: ", "1-2: a b", "2-2: b", "2-3: b c"}
		acked := 0
		l, err := Open(faulty, name, func(error) {})
		for ; err == nil && acked < len(steps); acked++ {
			if err = steps[acked](l); err != nil {
				break
			}
		}
		if l != nil {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if done = faulty.Ops() < k; done != (err == nil) || err != nil && !errors.Is(err, broken) {
			t.Errorf("disk broken at operation %d of %d: %v", k, faulty.Ops(), err)
		}
		got, err := content(openLog(t, vfs.OS(), name))
		if err != nil || got != states[acked] && (done || got != states[min(acked+1, len(steps))]) {
			t.Errorf("disk broken at operation %d: log is %q (%v), acknowledged was %q", k, got, err, states[acked])
		}
	}
}

// TestLogFailStop: after a failed commit no change is tried any more, and the owner hears of it once.
func TestLogFailStop(t *testing.T) {
	broken := errors.New("broken disk")
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpSync} {
		faulty := vfs.NewFaulty(vfs.OS(), nil)
		var failures []error
		l, err := Open(faulty, filepath.Join(t.TempDir(), "log.db"), func(err error) { failures = append(failures, err) })
		if err != nil {
			t.Fatal(err)
		}
		faulty.SetHook(func(op vfs.Op) error {
			if op.Kind == kind {
				return broken
			}
			return nil
		})
		first := l.StoreLogs(entries(1, "a"))
		tried := faulty.Ops()
		faulty.SetHook(nil)
		for _, err := range []error{first, l.StoreLogs(entries(1, "b")), l.DeleteRange(1, 1)} {
			if !errors.Is(err, broken) {
				t.Errorf("%s: %v", kind, err)
			}
		}
		if faulty.Ops() != tried || len(failures) != 1 {
			t.Errorf("%s: %d operations after the failure, reported %v", kind, faulty.Ops()-tried, failures)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
