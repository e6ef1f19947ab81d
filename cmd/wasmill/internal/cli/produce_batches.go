package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wasmill/wasmill/core/record"
)

// batchRequestBytes is about how much goes into one request.
const batchRequestBytes = 1 << 20

// batches sends record batches as they are, several in a request.
func (p production) batches(ctx context.Context, in io.Reader, topic string, partition int32) error {
	s := batchSender{production: p, topic: topic, partition: partition}
	for n := 1; ; n++ {
		more, err := s.add(ctx, in)
		switch {
		case err != nil:
			return errors.Join(s.send(ctx), fmt.Errorf("batch %d: %w", n, err))
		case s.refused != nil:
			return s.refused
		case !more:
			return s.send(ctx)
		}
	}
}

// batchSender gathers batches into the body of a request.
type batchSender struct {
	production
	topic     string
	partition int32
	body      []byte
	records   int   // in body
	refused   error // of a request that the next batch had to wait for
}

// add reads one batch into the body, and sends first what would make it too large; more is false at the end
// of the input. The error is the input's.
func (s *batchSender) add(ctx context.Context, in io.Reader) (more bool, err error) {
	var header [record.HeaderSize]byte
	if _, err := io.ReadFull(in, header[:]); errors.Is(err, io.EOF) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("its header is cut short: %w", err)
	}
	b := record.Batch(header[:])
	size, limit := int64(b.Length())+12, record.DefaultLimits().MaxBatchBytes
	if b.Magic() != record.Magic || size < record.HeaderSize || size > int64(limit) {
		return false, fmt.Errorf("not a record batch of at most %d bytes; is this another --format?", limit)
	}
	if len(s.body)+int(size) > batchRequestBytes {
		if s.refused = s.send(ctx); s.refused != nil {
			return true, nil
		}
	}
	start := len(s.body)
	s.body = append(s.body, header[:]...)
	s.body = append(s.body, make([]byte, int(size)-record.HeaderSize)...)
	if _, err := io.ReadFull(in, s.body[start+record.HeaderSize:]); err != nil {
		s.body = s.body[:start]
		return false, fmt.Errorf("cut short: %w", err)
	}
	s.records += int(b.Count())
	clearOffsets(record.Batch(s.body[start:]))
	return true, nil
}

// send sends the body, if there is one, and begins the next.
func (s *batchSender) send(ctx context.Context) error {
	if len(s.body) == 0 {
		return nil
	}
	res, err := s.client.ProduceBatches(ctx, s.topic, s.partition, s.body)
	if res != nil {
		s.sum.takeResult(res, s.records, s.sum.Records)
	}
	s.sum.Records += int64(s.records)
	s.sum.Bytes += int64(len(s.body))
	s.bar.add(int64(s.records), 0)
	s.body, s.records = s.body[:0], 0
	if res != nil && len(res.Rejected) > 0 {
		return nil // counted
	}
	return err
}

// clearOffsets makes a batch that was read from a log one that a producer may send.
func clearOffsets(b record.Batch) {
	b.SetBaseOffset(0)
	b.SetLeaderEpoch(-1)
}
