package partition

import (
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestDurableEnd: under the relaxed flush mode it is where the last sync was, also after a change of the mode, and
// FetchDurable ends there.
func TestDurableEnd(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	r.config.Flush = log.FlushRelaxed
	p := r.open()
	expect := func(end, high int64) {
		t.Helper()
		f, err := p.FetchDurable(nil, 0, 1<<20)
		if err != nil || p.DurableEnd() != end || f.Next != end || f.HighWatermark != high {
			t.Fatalf("durable to %d, read to %d of %d, %v; want %d of %d", p.DurableEnd(), f.Next, f.HighWatermark, err, end, high)
		}
		if f, err = p.FetchDurable(nil, high, 1<<20); err != nil || f.Next != high || len(f.Batches) > 0 {
			t.Fatalf("from the high watermark on: to %d, %v", f.Next, err)
		}
	}
	appendValues(t, p, nil, "a", "b")
	expect(0, 2)
	if err := p.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(2, 2)
	appendValues(t, p, nil, "c")
	expect(2, 3)
	r.config.Flush = log.FlushFsync
	if err := p.Reconfigure(r.config); err != nil {
		t.Fatal(err)
	}
	expect(3, 3)
	appendValues(t, p, nil, "d")
	expect(4, 4)
	r.config.Flush = log.FlushRelaxed
	if err := p.Reconfigure(r.config); err != nil {
		t.Fatal(err)
	}
	appendValues(t, p, nil, "e")
	expect(4, 5)
	r.close(p)
	wantCode(t, p.Sync(t.Context()), errcode.ShuttingDown)
}
