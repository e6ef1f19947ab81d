package partition

import (
	"context"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestAppendsShareMemory: partitions take from one budget. Without room an append is refused and writes
// nothing; one that is larger than all of it is written alone.
func TestAppendsShareMemory(t *testing.T) {
	memory, err := admission.New(512 << 10)
	if err != nil {
		t.Fatal(err)
	}
	appends := memory.Appends // 64 KiB
	r := newRig(t, vfs.NewMem())
	r.appends = appends
	p := r.open()
	defer r.close(p)
	if !appends.TryAcquire(appends.Limit()) { // as other partitions would
		t.Fatal("the budget is not whole")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Append(ctx, Append{Data: batchOf(t, 0, nil, "refused")})
	if !errcode.Is(err, errcode.Overloaded) || errcode.From(err).Fields["retry_after_ms"] == nil {
		t.Errorf("without memory: %v", err)
	}
	appends.Release(appends.Limit())
	if n := appends.InUse(); n != 0 {
		t.Errorf("%d bytes are held for a refused append", n)
	}
	large := strings.Repeat("x", 2*int(appends.Limit()))
	if done := appendValues(t, p, nil, large); done.BaseOffset != 0 {
		t.Errorf("the refused append took offset 0: the next one has %d", done.BaseOffset)
	}
	if n := appends.InUse(); n != 0 {
		t.Errorf("%d bytes are held after an append", n)
	}
}
