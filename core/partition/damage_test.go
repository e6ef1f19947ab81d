package partition

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestDamageIsToldFromOtherFailures(t *testing.T) {
	cause := &log.CorruptionError{File: "data/0/7.segment", Pos: 4096, Reason: "checksum"}
	if !IsDamage(cause) || !IsDamage(fmt.Errorf("open: %w", ErrState)) || IsDamage(log.ErrDiskFull) || IsDamage(nil) {
		t.Fatal("damage is not told from other failures")
	}
	e := DamageError("orders/0", cause)
	if e.Code != errcode.CorruptMessage || !errors.Is(e, cause) {
		t.Errorf("got %v", e)
	}
	if !strings.Contains(e.Detail, cause.File) || !strings.Contains(e.Detail, "verify its log") {
		t.Errorf("the reason is not told: %s", e.Detail)
	}
}

// TestOpenSaysWhatIsDamage garbles a partition's files between two starts.
func TestOpenSaysWhatIsDamage(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	appendValues(t, p, nil, "a")
	r.close(p)
	// A snapshot that checks and cannot be read, as of a newer version.
	snapshots, err := snapshot.Open(r.fs, "data/0/snapshots", snapshot.Options{Retain: 2})
	if err != nil {
		t.Fatal(err)
	}
	list, err := snapshots.List()
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	sink, err := snapshots.Create(list[0].Version, list[0].Index, list[0].Term, list[0].Configuration, list[0].ConfigurationIndex, nil)
	if err == nil {
		_, err = sink.Write([]byte("a later version's"))
		err = errors.Join(err, sink.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if p, err := r.tryOpen(); !IsDamage(err) || !errors.Is(err, ErrState) {
		t.Errorf("a snapshot that cannot be read: %v, %v", p, err)
	}
	// The log is gone, the vote is not.
	if err := r.fs.RemoveAll("data/0"); err != nil {
		t.Fatal(err)
	}
	if p, err := r.tryOpen(); !IsDamage(err) {
		t.Errorf("a log that is gone: %v, %v", p, err)
	}
}
