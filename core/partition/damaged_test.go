package partition

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestDamagedPartitionAnswersWithTheReason: every call is safe on a partition that could not be opened.
func TestDamagedPartitionAnswersWithTheReason(t *testing.T) {
	cause := &log.CorruptionError{File: "data/0/7.segment", Pos: 4096, Reason: "checksum"}
	if !IsDamage(cause) || IsDamage(log.ErrDiskFull) || IsDamage(nil) {
		t.Fatal("damage is not told from other failures")
	}
	p := Damaged(Options{Name: "orders/0", FS: vfs.NewMem(), Dir: "data/0", Logger: slog.New(slog.DiscardHandler)}, cause)
	_, err := p.Fetch(nil, 0, 1)
	wantCode(t, err, errcode.CorruptMessage)
	_, err = p.OffsetForTime(t.Context(), time.Now())
	wantCode(t, err, errcode.CorruptMessage)
	_, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, "a")})
	e := wantCode(t, err, errcode.StorageFailed)
	if !strings.Contains(e.Detail, cause.File) || !strings.Contains(e.Detail, "log verify") {
		t.Errorf("the reason is not told: %s", e.Detail)
	}
	if p.Bounds() != (Bounds{}) || p.SizeBytes() != 0 || p.Failure() == nil || p.Rolled() {
		t.Error("a damaged partition claims to hold something")
	}
	if _, ok, err := p.Position(t.Context(), "derivation/1/0"); ok || !errcode.Is(err, errcode.StorageFailed) {
		t.Error("a damaged partition knows a position")
	}
	if err := errors.Join(p.Reconfigure(Config{}), p.Maintain(time.Now()), p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
}
