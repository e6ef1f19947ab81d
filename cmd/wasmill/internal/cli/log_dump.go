package cli

import (
	"bufio"
	"fmt"
	"time"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/raftstore/log"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// dumper writes frames, as text or as one JSON object per line.
type dumper struct {
	w       *bufio.Writer
	json    bool
	records bool
	from    int64 // frames that end before this offset are passed over
	most    int64
	n       int64
	number  int32 // of the partition, as far as the directory's name says
	decoder record.Decoder
	buf     []record.Record
}

// dumpedFrame is the stable shape of a frame.
type dumpedFrame struct {
	File       string        `json:"file"`
	Pos        int64         `json:"pos"`
	Size       int64         `json:"size"`
	Index      uint64        `json:"index"`
	Term       uint64        `json:"term"`
	Type       string        `json:"type"`
	BaseOffset int64         `json:"base_offset"`
	NextOffset int64         `json:"next_offset"`
	AppendedAt string        `json:"appended_at,omitempty"`
	Extensions int           `json:"extension_bytes,omitempty"`
	Batches    []dumpedBatch `json:"batches,omitempty"`
	Error      string        `json:"error,omitempty"` // a batch that cannot be read
}

type dumpedBatch struct {
	BaseOffset    int64        `json:"base_offset"`
	LastOffset    int64        `json:"last_offset"`
	Count         int32        `json:"count"`
	Size          int          `json:"size"`
	Codec         string       `json:"codec"`
	LeaderEpoch   int32        `json:"leader_epoch"`
	ProducerID    int64        `json:"producer_id"`
	ProducerEpoch int16        `json:"producer_epoch"`
	BaseSequence  int32        `json:"base_sequence"`
	MaxTimestamp  int64        `json:"max_timestamp"` // ms since 1970
	Records       []jsonOutput `json:"records,omitempty"`
}

// frame writes one frame; errEnough ends the dump.
func (d *dumper) frame(f log.Frame) error {
	if f.NextOffset <= d.from && d.from > 0 {
		return nil
	}
	if d.most > 0 && d.n == d.most {
		return errEnough
	}
	d.n++
	out := dumpedFrame{
		File: f.File, Pos: f.Pos, Size: f.Size, Index: f.Index, Term: f.Term, Type: f.Type.String(),
		BaseOffset: f.BaseOffset, NextOffset: f.NextOffset, Extensions: len(f.Extensions),
	}
	if !f.AppendedAt.IsZero() {
		out.AppendedAt = f.AppendedAt.UTC().Format(timeMillis)
	}
	if f.NextOffset > f.BaseOffset {
		out.Batches, out.Error = d.batches(f.Data)
	}
	if d.json {
		return writeJSONLine(d.w, out)
	}
	return d.text(out)
}

// batches takes the frame's data apart. A batch that cannot be read does not end the dump: what is
// damaged is what one wants to see.
func (d *dumper) batches(data []byte) (out []dumpedBatch, fault string) {
	for b, err := range record.All(data) {
		if err == nil {
			err = b.CheckHeader(record.DefaultLimits())
		}
		if err != nil {
			return out, err.Error()
		}
		db := dumpedBatch{
			BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(), Count: b.Count(), Size: b.Size(), Codec: b.Codec().String(),
			LeaderEpoch: b.LeaderEpoch(), ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(),
			BaseSequence: b.BaseSequence(), MaxTimestamp: b.MaxTimestamp(),
		}
		if d.records {
			if d.buf, err = d.decoder.Decode(b, d.buf[:0]); err != nil {
				return append(out, db), err.Error()
			}
			for i := range d.buf {
				db.Records = append(db.Records, d.record(b, &d.buf[i]))
			}
		}
		out = append(out, db)
	}
	return out, ""
}

func (d *dumper) record(b record.Batch, r *record.Record) jsonOutput {
	return recordOutput(&client.ConsumedRecord{
		Partition: d.number, Offset: b.BaseOffset() + int64(r.OffsetDelta), Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: r.Headers,
	})
}

func (d *dumper) text(f dumpedFrame) error {
	fmt.Fprintf(d.w, "index %d term %d %s offsets %d to %d, %d bytes at %s:%d", f.Index, f.Term, f.Type, f.BaseOffset, f.NextOffset, f.Size, f.File, f.Pos)
	if f.AppendedAt != "" {
		fmt.Fprintf(d.w, ", %s", f.AppendedAt)
	}
	fmt.Fprintln(d.w)
	for _, b := range f.Batches {
		fmt.Fprintf(d.w, "  batch %d to %d: %d records, %s, %s", b.BaseOffset, b.LastOffset, b.Count, size(int64(b.Size)), b.Codec)
		if b.ProducerID >= 0 {
			fmt.Fprintf(d.w, ", producer %d/%d from %d", b.ProducerID, b.ProducerEpoch, b.BaseSequence)
		}
		if b.MaxTimestamp >= 0 {
			fmt.Fprintf(d.w, ", until %s", time.UnixMilli(b.MaxTimestamp).UTC().Format(timeMillis))
		}
		fmt.Fprintln(d.w)
		for _, r := range b.Records {
			if _, err := fmt.Fprint(d.w, "    "); err != nil {
				return err
			}
			if err := writeJSONLine(d.w, r); err != nil {
				return err
			}
		}
	}
	if f.Error != "" {
		fmt.Fprintf(d.w, "  damaged: %s\n", f.Error)
	}
	return nil
}
