package partition

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// BenchmarkAppend counts what an append costs from the call to the acknowledgement, without waiting for a
// disk: Raft, the sequence checks and the log's own work.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct {
		writers, bytes int
		idempotent     bool
	}{{1, 1 << 10, false}, {1, 1 << 10, true}, {64, 1 << 10, false}, {64, 16 << 10, false}, {64, 64 << 10, false}} {
		b.Run(fmt.Sprintf("writers=%d/bytes=%d/idempotent=%v", c.writers, c.bytes, c.idempotent), func(b *testing.B) {
			benchmarkAppend(b, c.writers, c.bytes, c.idempotent)
		})
	}
}

func benchmarkAppend(b *testing.B, writers, bytes int, idempotent bool) {
	r := newRig(b, vfs.OS())
	r.dir = b.TempDir()
	r.config = Config{SegmentBytes: 64 << 20, Flush: log.FlushRelaxed, RetentionBytes: -1, RetentionAge: -1}
	p := r.open()
	defer r.close(p)
	value := strings.Repeat("x", bytes)
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, writers)
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	b.ResetTimer()
	for w := range writers {
		go func() {
			producer := &record.Producer{ID: int64(w)}
			if !idempotent {
				producer = nil
			}
			data := batchOf(b, 0, producer, value)
			for n := int32(0); left.Add(-1) >= 0; n++ {
				if idempotent {
					producer.BaseSequence = n
					data = batchOf(b, 0, producer, value)
				}
				if _, err := p.Append(b.Context(), Append{Data: data}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}
