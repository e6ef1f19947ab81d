package partition

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestRetentionUnderReaders drops segments under slow readers, followers and look-ups by time: each read
// gives the records of the offsets asked for, or says where the log begins now.
func TestRetentionUnderReaders(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	r.config.SegmentBytes, r.config.RetentionBytes = 64<<10, 128<<10
	p := r.open()
	defer r.close(p)
	var over atomic.Bool
	var readers sync.WaitGroup
	overtaken := make([]int, 3)
	padding := strings.Repeat("x", 4<<10)
	for i := range overtaken {
		readers.Go(func() {
			for offset := int64(0); !over.Load(); {
				if i == 2 && offset%64 == 0 { // begin anew at the oldest record again and again
					at, err := p.OffsetForTime(t.Context(), time.UnixMilli(1))
					if err != nil && !errcode.Is(err, errcode.OffsetOutOfRange) {
						t.Error(err)
					}
					offset = at
				}
				f, err := p.Fetch(nil, offset, 1+i*8<<10)
				if errcode.Is(err, errcode.OffsetOutOfRange) {
					overtaken[i]++
					offset = errcode.From(err).Fields["log_start_offset"].(int64)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				checkValues(t, f.Batches, offset)
				offset = f.Next
				if i == 0 && offset%16 == 0 {
					offset = 0 // a reader that is always late
				}
			}
		})
	}
	for i := range 400 {
		appendValues(t, p, nil, fmt.Sprintf("%d %s", i, padding))
		if p.Rolled() {
			if err := p.Maintain(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	over.Store(true)
	readers.Wait()
	if overtaken[0] == 0 {
		t.Error("retention never overtook a reader: this test proves nothing")
	}
	if p.Bounds().LogStart < 200 {
		t.Errorf("bounds %+v", p.Bounds())
	}
}

// checkValues wants every record to hold its own offset, and the first batch to be the one asked for.
func checkValues(t *testing.T, batches []byte, offset int64) {
	var dec record.Decoder
	for b, err := range record.All(batches) {
		if err != nil {
			t.Error(err)
			return
		}
		if b.BaseOffset() != offset {
			t.Errorf("a batch at offset %d where %d was expected", b.BaseOffset(), offset)
		}
		records, err := dec.Decode(b, nil)
		if err != nil || len(records) != 1 || !strings.HasPrefix(string(records[0].Value), fmt.Sprint(offset, " ")) {
			t.Errorf("offset %d holds %d records (%v)", offset, len(records), err)
		}
		offset = b.NextOffset()
	}
}
